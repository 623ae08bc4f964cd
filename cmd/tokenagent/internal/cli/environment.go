package cli

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/option"
)

// emptyMeansNone marks a flag that may be empty. For every other flag an empty value is
// an error: it comes from a variable of a script that was never set, and would silently
// switch off what the flag asks for.
const emptyMeansNone = "empty-means-none"

func allowEmpty(cmd *cobra.Command, name string) {
	_ = cmd.Flags().SetAnnotation(name, emptyMeansNone, nil) // the flag exists
}

// emptyFlags refuses flags that the command line gives and leaves empty.
func emptyFlags(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if err == nil && isEmpty(f) {
			err = emptyFlag(f)
		}
	})
	return err
}

func emptyFlag(f *pflag.Flag) error {
	return exitcode.Usage("--%s is empty%s; give it a value, or leave the flag out", f.Name, orElement(f))
}

func orElement(f *pflag.Flag) string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return ", or has an empty element"
	}
	return ""
}

// isEmpty reports whether the flag's value, or an element of it, is empty and must not
// be.
func isEmpty(f *pflag.Flag) bool {
	_, allowed := f.Annotations[emptyMeansNone]
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values := list.GetSlice()
		return len(values) == 0 || slices.ContainsFunc(values, config.IsEmptyElement)
	}
	return !allowed && config.IsEmpty(f.Value.String())
}

const variablePrefix = "TOKENAGENT_"

// variable returns the name of the environment variable that sets the flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// noVariable lists the flags that no variable sets, since they replace what the command
// does.
var noVariable = []string{"help", "version"} //nolint:gochecknoglobals // a constant

// setByVariable marks a flag that an environment variable has set.
const setByVariable = "set-by-variable"

// fromEnvironment sets the flags that the command line does not give. They do not count
// as changed, since a variable is often meant for another command.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil || slices.Contains(noVariable, f.Name) {
			return
		}
		var invalid error
		if list, isList := f.Value.(pflag.SliceValue); isList {
			invalid = list.Replace(strings.Split(value, ","))
		} else {
			invalid = f.Value.Set(value)
		}
		switch {
		case invalid == nil && isEmpty(f), invalid != nil && config.IsEmpty(value):
			err = exitcode.Usage("%s, for --%s, is set and empty%s; give it a value, or unset it", name, f.Name, orElement(f))
		case invalid != nil:
			err = exitcode.Usage("%s, for --%s, must be %s", name, f.Name, config.Form(f.Value))
		default:
			_ = flags.SetAnnotation(f.Name, setByVariable, nil) // the flag exists
		}
	})
	return err
}

// spelling names a setting as it was given to cmd: as a flag, or as the variable that
// has set it.
func spelling(cmd *cobra.Command) option.Spelling {
	return func(name string) string {
		if f := cmd.Flags().Lookup(name); f != nil {
			if _, ok := f.Annotations[setByVariable]; ok {
				return variable(name)
			}
		}
		return option.Flag(name)
	}
}

// serviceVariable is the form of the variables that the kubelet sets for each Service of
// the namespace; they begin with the name of the Service in capitals
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var serviceVariable = regexp.MustCompile(`^(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$`)

// warnOfUnknown warns of variables that begin as ours do and set no flag of any command,
// except those of a Service whose name begins with "tokenagent". It shows no value. A
// command with a log writes it there.
func warnOfUnknown(cmd *cobra.Command, environ []string) error {
	var log *slog.Logger
	if level, format := cmd.Flags().Lookup("log-level"), cmd.Flags().Lookup("log-format"); level != nil && format != nil {
		log = (&logFlags{level.Value.String(), format.Value.String()}).logger(cmd.ErrOrStderr())
	}
	known := variables(cmd.Root())
	slices.Sort(known)
	set := make(map[string]bool)
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		set[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) {
			continue
		}
		if m := serviceVariable.FindStringSubmatch(name); m != nil && set[m[1]+"_SERVICE_HOST"] {
			continue
		}
		hint := "unset it"
		if near := config.Nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		if log != nil {
			log.Warn("a variable of the environment sets no flag", "variable", name, "hint", hint)
			continue
		}
		if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "tokenagent: warning: the environment variable %s sets no flag; %s\n", termsafe.Text(name), hint); err != nil {
			return err
		}
	}
	return nil
}

// variables returns the variables of the flags of c and its commands.
func variables(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, variable(f.Name)) })
	for _, sub := range c.Commands() {
		names = append(names, variables(sub)...)
	}
	return names
}
