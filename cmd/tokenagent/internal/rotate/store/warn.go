package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// lastApplied is the annotation in which kubectl apply keeps the manifest. If an object has
// it, kubectl replace writes the whole object there. The next kubectl apply of the
// unchanged manifest then deletes every key that the manifest does not have, such as
// token-next and token-revoked.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// A manager is a tool that writes Secrets from another source. It leaves labels,
// annotations or an owner on them.
type manager struct {
	name    string
	marks   []string // prefixes of NAME=VALUE of a label or an annotation
	owner   string   // kind of the controlling owner; "" for none
	off     string   // annotation that keeps the tool away if its value is "disabled"
	does    string   // what it does to a rotation, after "the Secret is managed by NAME (MARK), which"
	instead string   // what to do instead
}

//nolint:gochecknoglobals // a table
var managers = []manager{
	{
		name: "Argo CD", marks: []string{"argocd.argoproj.io/"},
		does:    "puts the old token back under token when it syncs, by itself where selfHeal is on",
		instead: "change the token where Argo CD takes it from, or let it ignore /data of this Secret (ignoreDifferences with RespectIgnoreDifferences=true)",
	},
	{
		name: "Flux (kustomize-controller)", marks: []string{"kustomize.toolkit.fluxcd.io/"}, off: "kustomize.toolkit.fluxcd.io/reconcile",
		does:    "applies its manifest by force at every interval and puts the old token back under token",
		instead: "change the token in the manifest, or first take the Secret from Flux (annotation kustomize.toolkit.fluxcd.io/reconcile: disabled)",
	},
	{
		name: "Flux (helm-controller)", marks: []string{"helm.toolkit.fluxcd.io/"},
		does:    "puts the chart's token back under token at the next upgrade, or sooner with drift detection",
		instead: "change the values of the HelmRelease, or make the Secret outside of the chart",
	},
	{
		name: "Helm", marks: []string{"app.kubernetes.io/managed-by=Helm", "meta.helm.sh/"},
		does:    "puts the chart's token back under token at the next helm upgrade or rollback",
		instead: "change the values of the release, or make the Secret outside of the chart",
	},
	{
		name: "External Secrets", marks: []string{"reconcile.external-secrets.io/"}, owner: "ExternalSecret",
		does:    "writes it anew from its store at every refresh: token as it is there, without token-next, token-previous and token-revoked unless the store has them",
		instead: "rotate in the store, with these keys there",
	},
	{
		name: "the Vault Secrets Operator", marks: []string{"secrets.hashicorp.com/", "app.kubernetes.io/managed-by=hashicorp-vso"}, owner: "VaultStaticSecret",
		does:    "writes it anew from Vault at every refresh: token as it is there, without token-next, token-previous and token-revoked unless Vault has them",
		instead: "rotate in Vault, with these keys there",
	},
	{
		name: "Sealed Secrets", marks: []string{"sealedsecrets.bitnami.com/"}, owner: "SealedSecret",
		does:    "writes it anew from the SealedSecret whenever that changes or the controller restarts",
		instead: "pass what rotate puts out to kubeseal, and apply that in place of kubectl replace",
	},
}

// managedBy returns a warning for each tool that manages the Secret.
func (m meta) managedBy() (out []string) {
	controller := ""
	for _, o := range m.OwnerReferences {
		if o.Controller {
			controller = o.Kind
		}
	}
	for _, tool := range managers {
		mark := m.mark(tool)
		if tool.owner != "" && tool.owner == controller {
			mark, controller = "its owner is of kind "+tool.owner, ""
		}
		if mark != "" {
			out = append(out, fmt.Sprintf("the Secret is managed by %s (%s), which %s; %s", tool.name, mark, tool.does, tool.instead))
		}
	}
	if controller != "" {
		out = append(out, fmt.Sprintf("the Secret is managed by a controller (its owner is of kind %q), which may write it anew and undo this; rotate where the controller takes the content from", controller))
	}
	return out
}

// mark returns the first label or annotation that the tool has left, and "" if there is
// none.
func (m meta) mark(tool manager) string {
	if tool.off != "" && m.Annotations[tool.off] == "disabled" {
		return ""
	}
	for i, pairs := range []map[string]string{m.Labels, m.Annotations} {
		for _, name := range slices.Sorted(maps.Keys(pairs)) {
			if slices.ContainsFunc(tool.marks, func(mark string) bool { return strings.HasPrefix(name+"="+pairs[name], mark) }) {
				return []string{"label ", "annotation "}[i] + name
			}
		}
	}
	return ""
}

// warnings says what may undo a rotation, and what is wrong with keys, which are the edited
// ones. It quotes no content.
func (s *secret) warnings(keys map[string][]byte) (out []string) {
	if s.meta.ResourceVersion == "" {
		out = append(out, "the Secret has no metadata.resourceVersion, so if two people rotate at once, the later overwrites the earlier; pipe the answer of kubectl get secret NAME -o json unchanged")
	}
	if s.meta.DeletionTimestamp != "" {
		out = append(out, "the Secret is being deleted (metadata.deletionTimestamp)")
	}
	out = append(out, s.meta.managedBy()...)
	if names := s.meta.applied(); len(names) > 0 {
		out = append(out, fmt.Sprintf("the Secret is managed by kubectl apply (annotation %s), which puts back %s as in its manifest when that is applied again; take that out of the manifest, or change it there with each promote",
			lastApplied, strings.Join(names, ", ")))
	}
	if text := content.WhiteSpace(keys); text != "" {
		out = append(out, text)
	}
	return out
}

// applied returns which keys of agents the last applied manifest has. Without the
// annotation, kubectl apply leaves keys alone that the manifest does not have
// (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/).
func (m meta) applied() []string {
	var manifest struct{ Data, StringData object }
	_ = json.Unmarshal([]byte(m.Annotations[lastApplied]), &manifest) // if it is broken, kubectl cannot read it either
	return agentKeysOf(manifest.Data, manifest.StringData)
}
