{{/*
Names do not follow the release: a cluster has one CSIDriver of this name, hence one installation, and Vault roles
are bound to the service account's name.
*/}}

{{- define "boathouse.driver" -}}
boathouse.statcan.gc.ca
{{- end }}

{{/* Labels of every object; `component` is the program without "boathouse-". */}}
{{- define "boathouse.labels" -}}
{{ include "boathouse.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "boathouse.selector" -}}
app.kubernetes.io/name: boathouse
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The name of an image: a digest wins over a tag. */}}
{{- define "boathouse.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Volume with one authority bundle, as ca.crt whatever its key. */}}
{{- define "boathouse.caVolume" -}}
- name: {{ .name }}
  {{- if eq .ca.kind "Secret" }}
  secret:
    secretName: {{ .ca.name }}
  {{- else }}
  configMap:
    name: {{ .ca.name }}
  {{- end }}
    items:
      - key: {{ .ca.key }}
        path: ca.crt
{{- end }}

{{/* Whether a directory is another one or below it. */}}
{{- define "boathouse.within" -}}
{{- hasPrefix (printf "%s/" (clean .outer)) (printf "%s/" (clean .inner)) }}
{{- end }}

{{/* What the schema cannot say in words: values that need each other. */}}
{{- define "boathouse.check" -}}
{{- if and .Values.flexVolume.install (not .Values.flexVolume.enabled) }}
{{- fail "flexVolume.install: the driver would have nobody to call; set flexVolume.enabled to true as well, or flexVolume.install to false" }}
{{- end }}
{{- $directories := list (dict "outer" .Values.node.kubeletDir "inner" .Values.node.stateDir) (dict "outer" .Values.node.stateDir "inner" .Values.node.kubeletDir) }}
{{- range $directories }}
{{- if eq (include "boathouse.within" .) "true" }}
{{- fail (printf "node.stateDir: %s and node.kubeletDir %s may not be within each other: each start of the node plugin would leave a mount on the inner one; write another directory, such as /var/lib/boathouse" $.Values.node.stateDir $.Values.node.kubeletDir) }}
{{- end }}
{{- end }}
{{- if .Values.controller.enabled }}
{{- if not .Values.controller.buckets }}
{{- fail "controller.buckets: is empty; name the buckets in which volumes may be made" }}
{{- end }}
{{- if not .Values.controller.provisionerImage }}
{{- fail "controller.provisionerImage: is empty; name an image of upstream's csi-provisioner (kubernetes-csi/external-provisioner), version 5 or newer" }}
{{- end }}
{{- if not (or .Values.controller.keysSecret .Values.controller.storageClassSecrets) }}
{{- fail "controller.keysSecret: is empty; name the Secret with the controller's accessKeyId and secretAccessKey, or list the Secrets that StorageClasses name in controller.storageClassSecrets" }}
{{- end }}
{{- end }}
{{- with .Values.webhook }}
{{- $narrow := or .namespaceSelector .objectSelector (eq .failurePolicy "Ignore") }}
{{- if and .enabled (not $narrow) (semverCompare "<1.28.0-0" $.Capabilities.KubeVersion.Version) }}
{{- fail "webhook.namespaceSelector: is empty, and before Kubernetes 1.28 every pod of every namespace would be refused while the webhook is down; select the namespaces that use it, or set webhook.failurePolicy to Ignore" }}
{{- end }}
{{- end }}
{{- end }}
