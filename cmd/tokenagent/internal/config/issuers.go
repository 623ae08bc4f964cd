package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// issuers reads the entries of the key issuers of realm.
func (p *parser) issuers(n *yaml.Node, where, realm string, defaults []setting) (all []Issuer) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.fail(n.Line, "%s: it must be a list, each entry of which begins with '- name: NAME'%s", where, aliasHint(n))
		return nil
	}
	for i, entry := range n.Content {
		if iss := p.issuer(entry, fmt.Sprintf("%s.%d", where, i+1), realm, defaults); iss != nil {
			if first := slices.IndexFunc(all, func(other Issuer) bool { return other.Name == iss.Name }); first >= 0 {
				p.fail(iss.given["name"], "%s.%d: the name is the same as that on line %d; metrics could not distinguish the two", where, i+1, all[first].given["name"])
			}
			all = append(all, *iss)
		}
	}
	return all
}

// issuer returns the settings of one entry of issuers, or nil after an error.
func (p *parser) issuer(n *yaml.Node, where, realm string, defaults []setting) *Issuer {
	r, before := Defaults(), len(p.errors)
	own, _ := p.settings(n, where, true)
	p.setAll(&r, own, slices.DeleteFunc(slices.Clone(defaults), func(s setting) bool { return !s.OfIssuer }))
	iss := r.Issuer
	iss.given, iss.line = r.Given, n.Line
	// The name of the realm before it keeps the name apart from those of the realm's
	// tokens and, in the log, of the issuers of other realms.
	iss.Name = realm + "." + iss.Name
	switch line, given := r.Given["name"]; {
	case len(p.errors) > before:
		return nil
	case !given:
		p.fail(n.Line, "%s: name is missing; it tells the issuers apart in metrics and logs", where)
		return nil
	case !rotation.ValidClient(r.Issuer.Name):
		p.fail(line, "%s: name must be letters, digits, '.', '_' or '-', at most 63, and begin with a letter or digit", where)
		return nil
	case !rotation.ValidClient(iss.Name):
		p.fail(line, "%s: name is too long: %s.NAME may have 63 characters; choose a shorter one", where, realm)
		return nil
	}
	return &iss
}
