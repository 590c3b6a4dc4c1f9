{{- define "haversack.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of what is outside of the release's namespace: two releases of one name share nothing. */}}
{{- define "haversack.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "haversack.fullname" .) -}}
{{- end -}}

{{- define "haversack.selector" -}}
app.kubernetes.io/name: haversack-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "haversack.labels" -}}
{{ include "haversack.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "haversack.serviceAccount" -}}
{{- $default := ternary (include "haversack.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- define "haversack.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "haversack.trainerImage" -}}
{{- .Values.trainer.image | default (printf "ghcr.io/haversack/trainer:%s" .Chart.AppVersion) -}}
{{- end -}}

{{- define "haversack.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "haversack.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What the operator does in a watched namespace, and nothing more. */}}
{{- define "haversack.rules" -}}
- apiGroups: [haversack.dev]
  resources: [finetunejobs]
  verbs: [get, list, watch, delete]
- apiGroups: [haversack.dev]
  resources: [finetunejobs/status]
  verbs: [patch]
- apiGroups: [haversack.dev]
  resources: [finetuneplans]
  verbs: [list, create, patch, delete]
- apiGroups: [haversack.dev]
  resources: [finetuneplans/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, secrets]
  verbs: [get, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
