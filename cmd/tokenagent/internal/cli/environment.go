package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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

// The names of flag annotations.
const (
	emptyMeansNone = "empty-means-none" // the flag may be empty
	setByVariable  = "set-by-variable"  // an environment variable has set the flag
)

const variablePrefix = "TOKENAGENT_"

// variable returns the name of the environment variable that sets the flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// noVariable lists the flags that no variable sets, because they replace what the
// command does.
var noVariable = []string{"help", "version"} //nolint:gochecknoglobals // a constant

// readVariables sets flags that the command line does not give from environment
// variables. Such a flag does not count as changed, because a variable is often meant
// for another command.
func readVariables(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := os.LookupEnv(variable(f.Name))
		if !ok || f.Changed || err != nil || slices.Contains(noVariable, f.Name) {
			return
		}
		annotate(flags, f.Name, setByVariable)
		if list, isList := f.Value.(pflag.SliceValue); isList {
			_ = list.Replace(strings.Split(value, ",")) // lists take any text
		} else if f.Value.Set(value) != nil {
			err = invalidValue(f, value)
		}
	})
	return err
}

func annotate(flags *pflag.FlagSet, flag, annotation string) {
	_ = flags.SetAnnotation(flag, annotation, nil) // the flag exists
}

// allowEmpty lets the address that the flag takes be empty, which means none.
func allowEmpty(flags *pflag.FlagSet, name string) {
	annotate(flags, name, emptyMeansNone)
	f := flags.Lookup(name)
	f.Value = &addressOrNone{Value: f.Value, flag: f}
}

// addressOrNone is the value of a flag that may be empty. An address that the command
// line gives must not be followed by an empty one, which comes from a variable that a
// script never set.
type addressOrNone struct {
	pflag.Value

	flag *pflag.Flag
}

func (a *addressOrNone) Set(value string) error {
	if value == "" && a.flag.Changed && a.String() != "" {
		return errors.New("empty") // invalidValue returns the full text
	}
	return a.Value.Set(value)
}

// refuseEmpty returns an error if a flag or variable was set to an empty value. The
// value often comes from a variable that a script never set, and would silently switch
// off what the flag asks for.
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		_, byVariable := f.Annotations[setByVariable]
		if err == nil && (f.Changed || byVariable) && isEmpty(f) {
			err = invalidValue(f, "")
		}
	})
	return err
}

// isEmpty reports whether the flag's value, or an element of it, is empty and must not
// be empty.
func isEmpty(f *pflag.Flag) bool {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values := list.GetSlice()
		return len(values) == 0 || slices.ContainsFunc(values, config.IsEmptyElement)
	}
	_, allowed := f.Annotations[emptyMeansNone]
	return !allowed && config.IsEmpty(f.Value.String())
}

// invalidValue returns the error for a value that the flag cannot have. It does not
// quote the value, which may be a misplaced token.
func invalidValue(f *pflag.Flag, value string) error {
	if config.IsEmpty(value) {
		return exitcode.Usage("{" + f.Name + "} has an empty value; give it a value, or leave it out")
	}
	return exitcode.Usage("{"+f.Name+"} must be %s", config.ValueForm(f.Value))
}

// spelling returns the Spelling of the settings that were given to cmd: the name of the
// flag, or of the variable that has set it.
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

// serviceVariable matches the variables that the kubelet sets for each Service in the
// namespace, such as one named tokenagent
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)`)

// warnOfUnknown warns of variables that begin with our prefix but set no flag of any
// command. It shows no value.
func warnOfUnknown(w io.Writer, root *cobra.Command, environ []string) {
	known := variables(root)
	slices.Sort(known)
	for _, e := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) || serviceVariable.MatchString(name) {
			continue
		}
		hint := cmp.Or(config.DidYouMean(name, known), "; unset it")
		fmt.Fprintf(w, "tokenagent: warning: the environment variable %s sets no flag%s\n", termsafe.Text(name), hint)
	}
}

// variables returns the variables of the flags of c and of its subcommands.
func variables(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, variable(f.Name)) })
	for _, sub := range c.Commands() {
		names = append(names, variables(sub)...)
	}
	return names
}
