package cli

import (
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realmfile"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// realmParser returns what makes a Plan of the file of realms at path. Paths in it
// are relative to where it stands.
func realmParser(path string, log *slog.Logger) func(reload.Content) (*realm.Plan, error) {
	return func(c reload.Content) (*realm.Plan, error) {
		d, err := realmfile.Parse(path, c.Data)
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
		spec, err := compileRealm(path, &d.Realms[i], log)
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

// compileRealm makes a Spec of one realm of a file, or finds all that is wrong with it.
func compileRealm(file string, in *realmfile.Realm, log *slog.Logger) (spec realm.Spec, faults []error) {
	fault := func(line int, format string, args ...any) {
		faults = append(faults, realmfile.Fault(file, line, "realms."+in.Name+format, args...))
	}
	r := config.Defaults()
	r.Name = in.Name
	for _, s := range in.Settings { // its own come first: what it has no use for of the others is dropped
		if s.Common && !r.Has(s.Needs) {
			continue
		}
		if err := r.SetKey(filepath.Dir(file), s.Field, s.Values); err != nil {
			fault(s.Line, ".%s: %w", s.Name, err)
		}
	}
	if faults == nil {
		if err, ok := errors.AsType[*multierror.Error](r.Validate(config.InRealm)); ok {
			for _, e := range err.Errors {
				fault(in.Line, ": %s", option.Text(e, option.Key))
			}
		}
	}
	if faults != nil {
		return spec, faults
	}
	cfg := r.Agent(log)
	// A source is called as its realm is, and so are the callers that prove
	// themselves by a shared token. Of two the one of keys is called otherwise.
	if cfg.KeyName = in.Name + ".keys"; !r.Source.Given() {
		cfg.Name, cfg.KeyName = in.Name+".none", in.Name
	}
	return realm.Spec{Name: in.Name, Hosts: r.Hosts, Headers: r.Headers, Settings: r.AgentText(), Config: cfg}, nil
}

// realmsAlone refuses flags beside --config that belong into the file.
func realmsAlone(cmd *cobra.Command) error {
	var stray string
	for _, f := range config.Fields {
		// The file is read at the same pace.
		if stray == "" && f.Name != "poll-interval" && f.Name != "debounce" && cmd.Flags().Changed(f.Name) {
			stray = f.Name
		}
	}
	if cmd.Flags().Changed("name") {
		stray = "name"
	}
	switch stray {
	case "":
		return nil
	case "name", "key-name":
		return exitcode.Usage("--%s does not go with --config: a realm's sources are called as the realm is", stray)
	default:
		return exitcode.Usage("--%s does not go with --config: write it into the file as %s, in a realm or for all of them in defaults", stray, stray)
	}
}
