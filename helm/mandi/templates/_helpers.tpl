{{- define "mandi.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "mandi.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mandi.labels" -}}
{{ include "mandi.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "mandi.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mandi.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "mandi.image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
{{- end }}

{{- define "mandi.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mandi.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "mandi.secretEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}{{ if .optional }}, optional: true{{ end }}}}
{{- end }}

{{/* What every process reads. The schema owner's URL is not among it: only the migration gets that. */}}
{{- define "mandi.env" -}}
{{ include "mandi.secretEnv" (dict "name" "APP_DATABASE_URL" "secret" .Values.secrets.database "key" "app-url") }}
{{ include "mandi.secretEnv" (dict "name" "DISPATCH_DATABASE_URL" "secret" .Values.secrets.database "key" "dispatch-url") }}
{{ include "mandi.secretEnv" (dict "name" "REFERENCE_DATABASE_URL" "secret" .Values.secrets.database "key" "reference-url") }}
{{ include "mandi.secretEnv" (dict "name" "REDIS_URL" "secret" .Values.secrets.redis "key" "url") }}
{{ include "mandi.secretEnv" (dict "name" "REDIS_STREAM_URL" "secret" .Values.secrets.redis "key" "stream-url" "optional" true) }}
{{- if .Values.secrets.kite }}
{{ include "mandi.secretEnv" (dict "name" "KITE_API_KEY" "secret" .Values.secrets.kite "key" "api-key") }}
{{ include "mandi.secretEnv" (dict "name" "KITE_API_SECRET" "secret" .Values.secrets.kite "key" "api-secret") }}
{{- end }}
- {name: MANDI_CELL, value: {{ .Values.settings.cell | quote }}}
- {name: MANDI_ENVIRONMENT, value: {{ .Values.settings.environment | quote }}}
- {name: LOG_LEVEL, value: {{ .Values.settings.logLevel | quote }}}
{{- with .Values.settings.kmsKeyArn }}
- {name: MANDI_KMS_KEY_ARN, value: {{ . | quote }}}
{{- end }}
{{- if .Values.secrets.kms }}
{{ include "mandi.secretEnv" (dict "name" "AWS_ACCESS_KEY_ID" "secret" .Values.secrets.kms "key" "access-key-id") }}
{{ include "mandi.secretEnv" (dict "name" "AWS_SECRET_ACCESS_KEY" "secret" .Values.secrets.kms "key" "secret-access-key") }}
{{- end }}
{{- with .Values.settings.otelEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* What sign-up and login need besides: only the gateway signs cookies and sends mail. */}}
{{- define "mandi.peopleEnv" -}}
{{ include "mandi.secretEnv" (dict "name" "MANDI_SECRET_KEY" "secret" .Values.secrets.people "key" "secret-key") }}
{{ include "mandi.secretEnv" (dict "name" "SMTP_URL" "secret" .Values.secrets.people "key" "smtp-url") }}
- {name: MANDI_PUBLIC_URL, value: {{ .Values.settings.publicUrl | quote }}}
- {name: MAIL_FROM, value: {{ .Values.settings.mailFrom | quote }}}
{{- if .Values.settings.kmsKeyArn }}
- {name: MANDI_ISSUER, value: {{ .Values.settings.publicUrl | quote }}}
{{- end }}
{{- end }}

{{- define "mandi.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The image's compiled kernels, copied to where they may be written: another kind of processor than that of the build compiles its own. */}}
{{- define "mandi.kernels" -}}
- name: kernels
  image: {{ include "mandi.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -r, /opt/mandi/kernels, /var/lib/mandi/]
  securityContext:
    {{- include "mandi.containerSecurity" . | nindent 4 }}
  resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {memory: 64Mi}}
  volumeMounts:
    {{- include "mandi.mounts" . | nindent 4 }}
{{- end }}

{{- define "mandi.volumes" -}}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- end }}

{{- define "mandi.mounts" -}}
- {name: data, mountPath: /var/lib/mandi}
- {name: tmp, mountPath: /tmp}
{{- end }}
