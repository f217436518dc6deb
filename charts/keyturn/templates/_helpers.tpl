{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "keyturn.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters leave room for the suffixes that follow. */}}
{{- define "keyturn.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "keyturn.selectorLabels" -}}
app.kubernetes.io/name: {{ include "keyturn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "keyturn.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "keyturn.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "keyturn.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "keyturn.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the account to use, because serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The operator's user name, as admission policies see it. */}}
{{- define "keyturn.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "keyturn.serviceAccountName" . }}
{{- end -}}

{{- define "keyturn.subject" -}}
- kind: ServiceAccount
  name: {{ include "keyturn.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "keyturn.leaseName" -}}
{{- default (include "keyturn.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- define "keyturn.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A realm's path below Keycloak's address. */}}
{{- define "keyturn.realmPath" -}}
/realms/{{ .realm | urlquery | replace "+" "%20" }}
{{- end -}}

{{/*
The issuer of one rotation: explicit > derived from global.domain > in-cluster. Takes a dict of rotation and root.
Empty where it can only be left to the operator (no keycloak section, nothing written).
*/}}
{{- define "keyturn.issuerURL" -}}
{{- $r := .rotation -}}
{{- if ($r.issuer).url -}}
{{- $r.issuer.url -}}
{{- else if $r.keycloak -}}
{{- if (.root.Values.global).domain -}}
https://keycloak.{{ .root.Values.global.domain }}{{ include "keyturn.realmPath" $r.keycloak }}
{{- else -}}
{{ $r.keycloak.url }}{{ include "keyturn.realmPath" $r.keycloak }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "keyturn.jwksURL" -}}
{{- if (.issuer).jwksURL -}}
{{- .issuer.jwksURL -}}
{{- else if .keycloak -}}
{{ .keycloak.url }}{{ include "keyturn.realmPath" .keycloak }}/protocol/openid-connect/certs
{{- end -}}
{{- end -}}

{{/* Names of the Secrets with credentials, by namespace, as JSON: credentialSecrets and what rotations name. */}}
{{- define "keyturn.credentials" -}}
{{- $byNamespace := dict -}}
{{- $all := .Values.credentialSecrets -}}
{{- range .Values.rotations -}}
{{- if .keycloak -}}
{{- $all = append $all (dict "namespace" (default $.Release.Namespace .namespace) "name" .keycloak.credentials.secret.name) -}}
{{- end -}}
{{- end -}}
{{- range $all -}}
{{- $names := append (default list (index $byNamespace .namespace)) .name | uniq | sortAlpha -}}
{{- $_ := set $byNamespace .namespace $names -}}
{{- end -}}
{{- $byNamespace | toJson -}}
{{- end -}}

{{/* Seconds of a duration of d h m s parts, as the operator reads it. */}}
{{- define "keyturn.seconds" -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+[dhms]" . -1 -}}
{{- $unit := get (dict "d" 86400 "h" 3600 "m" 60 "s" 1) (regexFind "[dhms]" .) -}}
{{- $total = add $total (mul $unit (regexFind "[0-9]+" . | atoi)) -}}
{{- end -}}
{{- $total -}}
{{- end -}}
