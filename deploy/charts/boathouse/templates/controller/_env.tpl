{{/* Environment of the controller. */}}
{{- define "boathouse.controllerEnv" -}}
- name: CSI_ENDPOINT
  value: unix:///csi/csi.sock
- name: BOATHOUSE_BUCKETS
  value: {{ join "," .Values.controller.buckets | quote }}
- name: BOATHOUSE_METRICS_ADDR
  value: {{ printf "%s:%v" .Values.controller.metricsAddress .Values.controller.metricsPort | quote }}
- name: BOATHOUSE_LOG
  value: {{ .Values.log.filter | quote }}
- name: BOATHOUSE_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: BOATHOUSE_S3_ENDPOINT
  value: {{ .Values.s3.endpoint | quote }}
- name: BOATHOUSE_S3_REGION
  value: {{ .Values.s3.region | quote }}
{{- if .Values.s3.ca.name }}
- name: BOATHOUSE_S3_CA_FILE
  value: /etc/boathouse/s3/ca.crt
{{- end }}
{{- if .Values.controller.keysSecret }}
- name: BOATHOUSE_ACCESS_KEY_FILE
  value: /etc/boathouse/keys/accessKeyId
- name: BOATHOUSE_SECRET_KEY_FILE
  value: /etc/boathouse/keys/secretAccessKey
{{- end }}
{{- with .Values.controller.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
