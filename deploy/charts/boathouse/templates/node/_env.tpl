{{/* Environment of the node plugin. A variable that is set to nothing counts as unset there. */}}
{{- define "boathouse.nodeEnv" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: CSI_ENDPOINT
  value: {{ printf "unix://%s/plugins/%s/csi.sock" .Values.node.kubeletDir (include "boathouse.driver" .) | quote }}
- name: BOATHOUSE_REGISTRATION_DIR
  value: {{ printf "%s/plugins_registry" .Values.node.kubeletDir | quote }}
- name: BOATHOUSE_STATE_DIR
  value: {{ .Values.node.stateDir | quote }}
- name: BOATHOUSE_METRICS_ADDR
  value: {{ printf "%s:%v" .Values.node.metricsAddress .Values.node.metricsPort | quote }}
- name: BOATHOUSE_LOG
  value: {{ .Values.log.filter | quote }}
- name: BOATHOUSE_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: VAULT_ADDR
  value: {{ .Values.vault.address | quote }}
- name: VAULT_NAMESPACE
  value: {{ .Values.vault.namespace | quote }}
- name: BOATHOUSE_VAULT_AUTH_MOUNT
  value: {{ .Values.vault.authMount | quote }}
- name: BOATHOUSE_VAULT_AUTH_KIND
  value: {{ .Values.vault.authKind | quote }}
- name: BOATHOUSE_VAULT_ROLE
  value: {{ .Values.vault.role | quote }}
- name: BOATHOUSE_TOKEN_AUDIENCE
  value: {{ .Values.tokens.audience | quote }}
- name: BOATHOUSE_DEFAULT_VAULT_PATH
  value: {{ .Values.vault.defaultPath | quote }}
{{- if .Values.vault.ca.name }}
- name: VAULT_CACERT
  value: /etc/boathouse/vault/ca.crt
{{- end }}
- name: BOATHOUSE_S3_ENDPOINT
  value: {{ .Values.s3.endpoint | quote }}
- name: BOATHOUSE_S3_REGION
  value: {{ .Values.s3.region | quote }}
{{- if .Values.s3.ca.name }}
- name: BOATHOUSE_S3_CA_FILE
  value: /etc/boathouse/s3/ca.crt
{{- end }}
{{- if .Values.s3.authorities }}
- name: BOATHOUSE_S3_CA_DIR
  value: /etc/boathouse/s3-authorities
{{- end }}
- name: BOATHOUSE_MOUNT_MEMORY_LIMIT
  value: {{ .Values.mounts.memoryLimit | quote }}
- name: BOATHOUSE_MOUNT_PIDS_LIMIT
  value: {{ .Values.mounts.pidsLimit | int64 | quote }}
- name: BOATHOUSE_REMOVE_STARTUP_TAINT
  value: {{ .Values.startupTaint.remove | quote }}
- name: BOATHOUSE_POD_EVENTS
  value: {{ .Values.podEvents | quote }}
{{- if .Values.flexVolume.enabled }}
- name: BOATHOUSE_FLEX
  value: "true"
- name: BOATHOUSE_FLEX_PATHS
  value: {{ join "," .Values.flexVolume.paths | quote }}
- name: BOATHOUSE_FLEX_TOKEN_FILE
  value: /var/run/secrets/boathouse/token
- name: BOATHOUSE_FLEX_VAULT_ROLE
  value: {{ .Values.flexVolume.vaultRole | quote }}
{{- if .Values.flexVolume.install }}
- name: BOATHOUSE_FLEX_INSTALL_DIR
  value: {{ .Values.flexVolume.pluginDir | quote }}
{{- end }}
{{- end }}
{{- with .Values.node.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
