{{/* Environment of `boathouse-webhook serve`. */}}
{{- define "boathouse.webhookEnv" -}}
- name: BOATHOUSE_WEBHOOK_LISTEN
  value: {{ printf "%s:%v" .Values.webhook.address .Values.webhook.port | quote }}
- name: BOATHOUSE_WEBHOOK_TLS_CERT
  value: /etc/boathouse/tls/tls.crt
- name: BOATHOUSE_WEBHOOK_TLS_KEY
  value: /etc/boathouse/tls/tls.key
- name: BOATHOUSE_WEBHOOK_INSTANCES
  value: /etc/boathouse/webhook/instances.yaml
- name: BOATHOUSE_WEBHOOK_OUTPUT
  value: {{ .Values.webhook.output | quote }}
- name: BOATHOUSE_METRICS_ADDR
  value: {{ printf "%s:%v" .Values.webhook.address .Values.webhook.metricsPort | quote }}
- name: BOATHOUSE_LOG
  value: {{ .Values.log.filter | quote }}
- name: BOATHOUSE_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- with .Values.webhook.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The Secret with tls.crt and tls.key. One name per source: neither writes into what the other made.
*/}}
{{- define "boathouse.webhookSecret" -}}
{{ ternary "boathouse-webhook-issued" "boathouse-webhook-tls" (eq .Values.webhook.certificate.source "cert-manager") }}
{{- end }}

{{/*
Which pods the API server asks about, in CEL. `output` is what the namespace has. Only these pods wait for the webhook when it
is down.
*/}}
{{- define "boathouse.webhookCondition" -}}
has(object.metadata.annotations)
&& ("data.statcan.gc.ca/inject-boathouse" in object.metadata.annotations
|| "boathouse.statcan.gc.ca/output" in object.metadata.annotations)
{{- if eq .output "csi" }}
|| has(object.spec.volumes)
&& object.spec.volumes.exists(v, has(v.flexVolume) && v.flexVolume.driver == "statcan.gc.ca/boathouse")
{{- end }}
{{- end }}

{{/* The pod that makes and renews the certificate, for the Job and the CronJob. */}}
{{- define "boathouse.webhookCertificatePod" -}}
metadata:
  labels:
    {{- include "boathouse.labels" (dict "root" . "component" "webhook-certificate") | nindent 4 }}
spec:
  serviceAccountName: boathouse-webhook-certificate
  automountServiceAccountToken: true
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  restartPolicy: OnFailure
  nodeSelector:
    kubernetes.io/os: linux
    {{- with .Values.webhook.nodeSelector }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.webhook.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: certificate
      image: {{ include "boathouse.image" (dict "root" . "image" .Values.webhook.image) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [/usr/local/bin/boathouse-webhook]
      args:
        - certificate
        - --service=boathouse-webhook
        - --namespace={{ .Release.Namespace }}
        - --secret={{ include "boathouse.webhookSecret" . }}
        - --configuration=boathouse-webhook
      env:
        - name: BOATHOUSE_LOG
          value: {{ .Values.log.filter | quote }}
        - name: BOATHOUSE_LOG_FORMAT
          value: {{ .Values.log.format | quote }}
      {{- with .Values.webhook.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
{{- end }}
