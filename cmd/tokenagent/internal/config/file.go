package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/option"
)

// The top-level keys of a file of realms.
const (
	keyRealms   = "realms"
	keyDefaults = "defaults"
	keyDefault  = "default-realm"
	keyPaths    = "paths"
)

// keyIssuers is the key of a realm that lists issuers.
const keyIssuers = "issuers"

// ParseFile reads the YAML of a file of realms. Paths in the file are relative to the
// directory of path. The error lists the first ten errors of the file, each with its
// line and its fix, and quotes no value.
func ParseFile(path string, data []byte, log *slog.Logger) (*realm.Plan, error) {
	p := &parser{path: path, log: log}
	plan := &realm.Plan{Paths: true}
	if root := p.root(data); root != nil {
		p.document(plan, root)
	}
	if len(p.errors) == 0 {
		return plan, nil
	}
	const limit = 10
	if more := len(p.errors) - limit; more > 0 {
		p.errors = append(p.errors[:limit], fmt.Sprintf("and %d more", more))
	}
	return nil, errors.New(strings.Join(p.errors, "\n"))
}

func (p *parser) document(plan *realm.Plan, root *yaml.Node) {
	var realms, fallback *yaml.Node
	var defaults []setting
	for key, value := range p.entries(root, "the file") {
		switch key.Value {
		case keyRealms:
			realms = value
		case keyDefault:
			fallback = value
		case keyDefaults:
			defaults, _ = p.settings(value, keyDefaults, false)
		case keyPaths:
			if v := p.values(value, keyPaths, false); v != nil {
				var err error
				if plan.Paths, err = strconv.ParseBool(v[0]); err != nil {
					p.fail(value.Line, "%s: it must be true or false", keyPaths)
				}
			}
		default:
			p.unknownKey(key, "the file", []string{keyDefault, keyDefaults, keyPaths, keyRealms})
		}
	}
	if realms == nil {
		p.fail(root.Line, "%s is missing; it holds the realms by name", keyRealms)
		return
	}
	lines := p.realms(plan, realms, defaults)
	if fallback == nil {
		return
	}
	if v := p.values(fallback, keyDefault, false); v != nil {
		if plan.Default = v[0]; lines[plan.Default] == 0 {
			p.fail(fallback.Line, "%s: there is no realm of that name%s", keyDefault, DidYouMean(plan.Default, slices.Sorted(maps.Keys(lines))))
		}
	}
}

// unknownKey quotes the key only if it is similar to a known key. Any other key may be a
// token that was pasted there.
func (p *parser) unknownKey(key *yaml.Node, where string, known []string) {
	if hint := DidYouMean(key.Value, known); hint != "" {
		p.fail(key.Line, "%s: unknown key %s%s", where, key.Value, hint)
		return
	}
	p.fail(key.Line, "%s: unknown key; the keys are %s", where, strings.Join(known, ", "))
}

// DidYouMean returns a hint for a misspelled word, such as "; did you mean run?". It
// suggests the first of names that begins with word, or that differs from word in at
// most two letters. It returns "" if there is none.
func DidYouMean(word string, names []string) string {
	if len(word) < 4 { // two letters make too much of a short word
		return ""
	}
	parent := &cobra.Command{SuggestionsMinimumDistance: 2} // cobra has the search
	for _, name := range names {
		parent.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	if near := parent.SuggestionsFor(word); len(near) > 0 {
		return "; did you mean " + near[0] + "?"
	}
	return ""
}

// A setting is one key of a realm or of the defaults, with its values.
type setting struct {
	Field

	values []string
	line   int
}

// settings reads the settings of a realm or of the defaults or, if inIssuer is set, of an
// entry of issuers. It returns the value of the key issuers without reading it.
func (p *parser) settings(n *yaml.Node, where string, inIssuer bool) (all []setting, issuers *yaml.Node) {
	for key, value := range p.entries(n, where) {
		isIssuers := key.Value == keyIssuers && !inIssuer
		i := slices.IndexFunc(Fields, func(f Field) bool { return f.Name == key.Value && f.isKey(inIssuer) })
		switch {
		case where == keyDefaults && (isIssuers || i >= 0 && Fields[i].PerRealm):
			p.fail(key.Line, "%s: %s differs for each realm; put it there", where, key.Value)
			continue
		case isIssuers:
			issuers = value
			continue
		case i < 0 && inIssuer:
			p.unknownKey(key, where, keys(inIssuer))
			continue
		case i < 0:
			p.unknownKey(key, where, RealmKeys())
			continue
		}
		name := where + "." + key.Value
		s := setting{Field: Fields[i], line: key.Line}
		if s.values = p.values(value, name, s.IsList); s.values == nil {
			continue
		}
		scratch := Defaults()
		if err := scratch.set(s, ""); err != nil {
			p.fail(key.Line, "%s: %s", name, err)
			continue
		}
		all = append(all, s)
	}
	return all, issuers
}

// set applies s. Relative paths are relative to dir. The error says what form the value
// must have, and does not quote it.
func (r *Realm) set(s setting, dir string) error {
	r.Given[s.Name] = s.line
	flag := s.flag(r).Value
	for _, value := range s.values {
		if s.IsPath && !filepath.IsAbs(value) {
			value = filepath.Join(dir, value)
		}
		if s.IsPath {
			value = filepath.Clean(value)
		}
		if s.CheckValue != nil {
			var err error
			if value, err = s.CheckValue(value); err != nil {
				return err
			}
		}
		if flag.Set(value) != nil {
			return errors.New("it must be " + ValueForm(flag))
		}
	}
	return nil
}

// ValueForm describes the values that v accepts.
func ValueForm(v pflag.Value) string {
	switch v.Type() {
	case "duration":
		return "a duration such as 90s, 15m or 24h"
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	default:
		return v.Type()
	}
}

// realmName is the form of a realm's name. The name appears in paths and metrics.
var realmName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,57}$`)

// keysSuffix is added to the name of a realm for the name of its key source, if the
// realm also has a token source.
const keysSuffix = ".keys"

// realms adds the realms in n to the plan. It returns the line of each realm by name.
func (p *parser) realms(plan *realm.Plan, n *yaml.Node, defaults []setting) map[string]int {
	lines := make(map[string]int)
	owners := make(map[string]string) // the realm that has a setting with a value
	for key, value := range p.entries(n, keyRealms) {
		name := key.Value
		if !realmName.MatchString(name) {
			p.fail(key.Line, "%s: a name must be letters, digits, '.', '_' or '-', at most 58, and begin with a letter or digit", keyRealms)
			continue
		}
		if strings.HasSuffix(name, keysSuffix) {
			p.fail(key.Line, "%s: a name must not end in %s, which marks the key source of another realm; choose another name", keyRealms, keysSuffix)
			continue
		}
		lines[name] = key.Line
		r := p.realm(key, value, defaults)
		if r == nil {
			continue
		}
		unique := func(setting, value string) {
			if owner := owners[setting+" "+value]; owner != "" {
				p.fail(r.Given[setting], "%s.%s.%s: realm %s has the same; each realm needs its own", keyRealms, name, setting, owner)
				return
			}
			owners[setting+" "+value] = name
		}
		for _, host := range r.Hosts {
			unique("hosts", host)
		}
		if file := r.Config.StateFile; file != "" {
			unique("state-file", file)
		}
		r.Config = r.AgentConfig(InRealm, p.log)
		for _, source := range sourceNames(&r.Config) {
			if owner := owners["source "+source]; owner != "" {
				p.fail(key.Line, "%s.%s: one of its sources would have the same name as one of realm %s; rename the realm or the issuer", keyRealms, name, owner)
			}
			owners["source "+source] = name
		}
		plan.Specs = append(plan.Specs, r.Spec)
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.fail(n.Line, "%s is empty; it needs at least one realm", keyRealms)
	}
	return lines
}

// sourceNames returns the names of the sources in c.
func sourceNames(c *agent.Config) (names []string) {
	if c.TokenFile != "" || c.TokenEnv != "" || c.EnvFile != "" {
		names = append(names, c.Name)
	}
	for i := range c.Issuers {
		names = append(names, c.Issuers[i].Name)
	}
	return names
}

// realm returns the settings of one realm, or nil after an error.
func (p *parser) realm(key, value *yaml.Node, defaults []setting) *Realm {
	r, before := Defaults(), len(p.errors)
	where := keyRealms + "." + key.Value
	all, issuers := p.settings(value, where, false)
	if issuers != nil {
		for _, s := range all {
			if s.OfIssuer {
				p.fail(s.line, "%s: %s stands beside %s; move it into an entry of %s", where, s.Name, keyIssuers, keyIssuers)
			}
		}
		r.Issuers = p.issuers(issuers, where+"."+keyIssuers, key.Value, defaults)
	}
	p.setAll(&r, all, defaults) // after Issuers is set: some defaults apply only to a realm with keys
	if len(p.errors) > before {
		return nil
	}
	// A source has the name of its realm, which is also the subject of callers with a
	// shared token. The two sources of one realm need different names.
	r.Name = key.Value
	r.Config.Name, r.Issuer.Name = r.Name, r.Name+keysSuffix
	if !r.HasTokens() {
		r.Config.Name, r.Issuer.Name = r.Name+".none", r.Name
	}
	err, invalid := errors.AsType[*multierror.Error](r.Validate(InRealm))
	if !invalid {
		return &r
	}
	for _, e := range err.Errors {
		at, given, whole := where, r.Given, key.Line
		if of, ok := errors.AsType[*option.IssuerError](e); ok && len(r.Issuers) > 0 {
			iss := r.Issuers[of.Number-1]
			e, at, given, whole = of.Err, fmt.Sprintf("%s.%s.%d", where, keyIssuers, of.Number), iss.given, iss.line
		}
		line := 0 // the line of the first setting that the error names
		text := option.Text(e, func(name string) string {
			line = cmp.Or(line, given[name])
			return option.Key(name)
		})
		p.fail(cmp.Or(line, whole), "%s: %s", at, text)
	}
	return nil
}

// setAll applies own to r, which settings has checked, and those of the defaults that r
// does not set itself.
func (p *parser) setAll(r *Realm, own, defaults []setting) {
	dir := filepath.Dir(p.path)
	for _, s := range own {
		_ = r.set(s, dir)
	}
	for _, s := range defaults {
		if _, given := r.Given[s.Name]; !given && r.takesDefault(s.Field) {
			_ = r.set(s, dir)
		}
	}
}
