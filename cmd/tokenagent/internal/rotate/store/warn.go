package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// lastApplied is the annotation in which kubectl apply keeps the manifest. Where
// an object has it, kubectl replace writes the whole object there, and the next
// kubectl apply of the unchanged manifest deletes every key that the manifest
// does not have: token-next, and token-revoked.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// A keeper is a tool that writes Secrets from somewhere else, known by a label, an
// annotation or an owner that it leaves on them.
type keeper struct {
	name    string
	marks   []string // prefixes of NAME=VALUE of a label or an annotation
	owner   string   // kind of the controlling owner, "" for none
	off     string   // annotation that keeps the tool away where it says "disabled"
	does    string   // what becomes of a rotation here
	instead string   // what to do instead
}

// The text of a keeper is read behind "the Secret is kept by NAME (MARK), which".
//
//nolint:gochecknoglobals // a table
var keepers = []keeper{
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

// keptBy returns a warning for each tool that keeps the Secret.
func (s *secret) keptBy() (out []string) {
	controller := ""
	for _, o := range s.owners {
		if o.Controller {
			controller = o.Kind
		}
	}
	for _, k := range keepers {
		mark := s.mark(k)
		if k.owner != "" && k.owner == controller {
			mark, controller = "its owner is of kind "+k.owner, ""
		}
		if mark != "" {
			out = append(out, fmt.Sprintf("the Secret is kept by %s (%s), which %s; %s", k.name, mark, k.does, k.instead))
		}
	}
	if controller != "" {
		out = append(out, fmt.Sprintf("the Secret is kept by a controller (its owner is of kind %q), which may write it anew and undo this; rotate where the controller takes the content from", controller))
	}
	return out
}

// mark returns the label or annotation that shows k, and "" for none.
func (s *secret) mark(k keeper) string {
	if k.off != "" && s.annotations[k.off] == "disabled" {
		return ""
	}
	for _, in := range []struct {
		what  string
		names map[string]string
	}{{"label ", s.labels}, {"annotation ", s.annotations}} {
		for _, name := range slices.Sorted(maps.Keys(in.names)) {
			if slices.ContainsFunc(k.marks, func(m string) bool { return strings.HasPrefix(name+"="+in.names[name], m) }) {
				return in.what + name
			}
		}
	}
	return ""
}

// warnings says what may undo a rotation, and what is wrong with keys, which are
// ours as they are to be. It names keys and kinds and quotes no content.
func (s *secret) warnings(keys map[string][]byte) (out []string) {
	if s.resourceVersion == "" {
		out = append(out, "the Secret has no metadata.resourceVersion, so that of two operators the later overwrites the other; pipe the answer of kubectl get secret NAME -o json unchanged")
	}
	if s.deletionTimestamp != "" {
		out = append(out, "the Secret is being deleted (metadata.deletionTimestamp)")
	}
	out = append(out, s.keptBy()...)
	if names := s.applied(); len(names) > 0 {
		out = append(out, fmt.Sprintf("the Secret is kept by kubectl apply (annotation %s), which puts back %s as in its manifest when that is applied again; take that out of the manifest, or change it there with each promote",
			lastApplied, strings.Join(names, ", ")))
	}
	if text := content.WhiteSpace(keys); text != "" {
		out = append(out, text)
	}
	return out
}

// applied returns which of our keys the manifest has that was last applied. Keys
// that it does not name are left alone by kubectl apply, once with has taken the
// annotation away
// (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/).
func (s *secret) applied() (out []string) {
	var manifest struct {
		Data       object `json:"data"`
		StringData object `json:"stringData"`
	}
	if json.Unmarshal([]byte(s.annotations[lastApplied]), &manifest) != nil {
		return nil // there is none, or apply cannot read it either
	}
	for _, key := range content.Names() {
		_, data := manifest.Data[key]
		_, text := manifest.StringData[key]
		if data || text {
			out = append(out, key)
		}
	}
	return out
}
