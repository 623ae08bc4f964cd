package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realmfile"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// realmFlags are the flags of one realm. In the file of realms they are keys of
// the same names, so that both are told and checked in one place.
type realmFlags struct {
	source   source
	keys     keySource
	rotation rotationFlags
	cmd      *cobra.Command // holds the flags
}

func newRealmFlags() *realmFlags {
	r := &realmFlags{cmd: &cobra.Command{}}
	r.source.add(r.cmd)
	r.keys.add(r.cmd)
	r.rotation.add(r.cmd)
	return r
}

const keyHosts = "hosts"

// ownKeys make no sense for several realms.
var ownKeys = []string{"token-file", "token-env", "env-file", "key-file", "jwks-url", "state-file", keyHosts} //nolint:gochecknoglobals // a constant

// realmKeys returns the keys of a realm: its flags, but for the name that it has
// already; and its hosts.
func realmKeys() []realmfile.Key {
	keys := []realmfile.Key{{Name: keyHosts, List: true, Own: true}}
	newRealmFlags().cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "key-name" {
			return
		}
		_, list := f.Value.(pflag.SliceValue)
		keys = append(keys, realmfile.Key{Name: f.Name, List: list, Own: slices.Contains(ownKeys, f.Name)})
	})
	return keys
}

// realmParser returns what makes a Plan of the file of realms at path. Paths in it
// are relative to where it stands.
func realmParser(path string, log *slog.Logger) func(reload.Content) (*realm.Plan, error) {
	keys := realmKeys()
	return func(c reload.Content) (*realm.Plan, error) {
		d, err := realmfile.Parse(path, c.Data, keys)
		if err != nil {
			return nil, err
		}
		return compileRealms(path, d, log)
	}
}

// compileRealms makes a Plan of a document, or finds all that is wrong with it.
func compileRealms(path string, d *realmfile.Document, log *slog.Logger) (*realm.Plan, error) {
	plan := &realm.Plan{Default: d.Default, Paths: d.Paths}
	var faults *multierror.Error
	for i := range d.Realms {
		c := &realmCompiler{file: path, realm: &d.Realms[i], flags: newRealmFlags(), log: log}
		spec, err := c.compile()
		faults = multierror.Append(faults, err...)
		plan.Specs = append(plan.Specs, spec)
	}
	if faults.ErrorOrNil() == nil {
		faults = multierror.Append(faults, clashes(path, d, plan)...)
	}
	if faults.ErrorOrNil() == nil {
		return plan, nil
	}
	faults.ErrorFormat = realmfile.Lines
	return nil, faults
}

// clashes finds what two realms cannot both have.
func clashes(path string, d *realmfile.Document, plan *realm.Plan) (faults []error) {
	taken := make(map[string]int)
	take := func(i int, kind, what, mend string) {
		key := kind + "\x00" + what
		if first, ok := taken[key]; ok {
			faults = append(faults, realmfile.Fault(path, d.Realms[i].Line, "realms.%s: realm %s has this %s already; %s", d.Realms[i].Name, d.Realms[first].Name, kind, mend))
			return
		}
		taken[key] = i
	}
	for i, spec := range plan.Specs {
		for _, host := range spec.Hosts {
			take(i, "host", host, "a host is one realm's alone")
		}
		if f := spec.Config.StateFile; f != "" {
			take(i, "state-file", f, "give each a file of its own")
		}
	}
	return faults
}

// A realmCompiler makes a Spec of one realm of the file.
type realmCompiler struct {
	file  string
	realm *realmfile.Realm
	flags *realmFlags
	log   *slog.Logger

	hosts  []string
	faults []error
}

func (c *realmCompiler) fault(line int, format string, args ...any) {
	c.faults = append(c.faults, realmfile.Fault(c.file, line, "realms."+c.realm.Name+format, args...))
}

func (c *realmCompiler) compile() (realm.Spec, []error) {
	for _, s := range c.used() {
		c.set(s)
	}
	spec := realm.Spec{Name: c.realm.Name, Hosts: c.hosts, Headers: c.flags.rotation.header, Settings: c.settings()}
	if c.faults != nil {
		return spec, c.faults
	}
	cfg, err := c.config()
	if err == nil {
		if e := (httpauth.Options{Headers: spec.Headers}).Validate(); e != nil {
			err = fmt.Errorf("header: %w", e)
		}
	}
	if err != nil {
		c.fault(c.realm.Line, ": %s", option.Text(err, option.Key))
		return spec, c.faults
	}
	spec.Config = cfg
	return spec, nil
}

// The keys that name a source, which no realm has in common with others.
var (
	tokenSources = []string{"token-file", "token-env", "env-file"} //nolint:gochecknoglobals // a constant
	keySources   = []string{"key-file", "jwks-url"}                //nolint:gochecknoglobals // a constant
)

// has reports whether the realm has one of keys.
func (c *realmCompiler) has(keys ...string) bool {
	return slices.ContainsFunc(c.realm.Settings, func(s realmfile.Setting) bool { return slices.Contains(keys, s.Key) })
}

// used returns the settings that the realm has a use for.
func (c *realmCompiler) used() []realmfile.Setting {
	return slices.DeleteFunc(slices.Clone(c.realm.Settings), func(s realmfile.Setting) bool { return s.Common && c.useless(s.Key) })
}

// useless reports whether the realm has no use for a key that realms have in
// common, so that it is no fault there.
func (c *realmCompiler) useless(key string) bool {
	switch key {
	case "issuer", "audience", "key-algorithm", "algorithm", "jwt-type", "require-claim", "leeway", "jwt-cache":
		return !c.has(keySources...)
	case "max-stale", "jwks-ca-file", "jwks-bearer-file":
		return !c.has("jwks-url")
	case "min-token-bytes":
		return !c.has(tokenSources...)
	default:
		return false
	}
}

// set sets one flag.
func (c *realmCompiler) set(s realmfile.Setting) {
	if s.Key == keyHosts {
		for _, v := range s.Values {
			host, err := realm.CheckHost(v)
			if err != nil {
				c.fault(s.Line, ".%s: %w", s.Key, err)
			}
			c.hosts = append(c.hosts, host)
		}
		return
	}
	f := c.flags.cmd.Flags()
	for _, v := range s.Values {
		if slices.Contains([]string{"token-file", "env-file", "key-file", "state-file", "jwks-ca-file", "jwks-bearer-file"}, s.Key) {
			if !filepath.IsAbs(v) {
				v = filepath.Join(filepath.Dir(c.file), v)
			}
			v = filepath.Clean(v)
		}
		if err := f.Set(s.Key, v); err != nil {
			c.fault(s.Line, ".%s: it must be %s", s.Key, form(f.Lookup(s.Key).Value.Type()))
			return
		}
	}
}

// form says what a value of a flag's type looks like.
func form(kind string) string {
	switch kind {
	case "duration":
		return "a duration such as 90s, 15m or 24h"
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	default:
		return "of the form " + kind
	}
}

// settings returns what is equal where the agent is: all but what only says whose
// requests are whose.
func (c *realmCompiler) settings() string {
	var all []string
	for _, s := range c.used() {
		if s.Key != keyHosts && s.Key != "header" {
			all = append(all, fmt.Sprintf("%s=%q", s.Key, s.Values))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// config makes the agent's configuration.
func (c *realmCompiler) config() (agent.Config, error) {
	if !c.has(tokenSources...) && !c.has(keySources...) {
		return agent.Config{}, errors.New("it has no source; give it token-file, env-file, token-env, key-file or jwks-url")
	}
	cfg, err := c.flags.source.config(c.log)
	if err != nil {
		return cfg, err
	}
	if err := c.flags.keys.config(c.flags.cmd, &cfg, true); err != nil {
		return cfg, err
	}
	if err := c.flags.rotation.config(&cfg); err != nil {
		return cfg, err
	}
	// A source is called as its realm is, and so are the callers that prove
	// themselves by a shared token. Of two the one of keys is called otherwise.
	cfg.Name, cfg.KeyName = c.realm.Name, c.realm.Name+".keys"
	if !c.has(tokenSources...) {
		cfg.Name, cfg.KeyName = c.realm.Name+".none", c.realm.Name
	}
	return cfg, nil
}

// realmsAlone refuses flags beside --config that belong into the file.
func realmsAlone(cmd *cobra.Command) error {
	var stray string
	newRealmFlags().cmd.Flags().VisitAll(func(f *pflag.Flag) {
		// The file is read at the same pace.
		if stray == "" && f.Name != "poll-interval" && f.Name != "debounce" && cmd.Flags().Changed(f.Name) {
			stray = f.Name
		}
	})
	if cmd.Flags().Changed("name") {
		stray = "name"
	}
	switch stray {
	case "":
		return nil
	case "name", "key-name":
		return fail.Usage("--%s does not go with --config: a realm's sources are called as the realm is", stray)
	default:
		return fail.Usage("--%s does not go with --config: write it into the file as %s, in a realm or for all of them in defaults", stray, stray)
	}
}
