package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// emptyMeansNone marks a flag whose empty value has a meaning. For every other flag
// an empty value is an error: it is a variable of a script that was never set, and
// would silently switch off what the flag asks for.
const emptyMeansNone = "empty-means-none"

// allowEmpty marks the flag.
func allowEmpty(cmd *cobra.Command, name string) {
	f := cmd.Flags().Lookup(name)
	f.Annotations = map[string][]string{emptyMeansNone: nil}
	f.Value = &addressOrNone{Value: f.Value, flag: f}
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

// orElement says what else may be empty of a list.
func orElement(f *pflag.Flag) string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return ", or has an empty element"
	}
	return ""
}

// isEmpty reports whether the flag's value, or an element of it, is empty.
func isEmpty(f *pflag.Flag) bool {
	if _, ok := f.Annotations[emptyMeansNone]; ok {
		return false
	}
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values := list.GetSlice()
		return len(values) == 0 || slices.ContainsFunc(values, config.IsEmptyElement)
	}
	return config.IsEmpty(f.Value.String())
}

// errEmptied is the error of a flag that the command line sets, and empties later.
var errEmptied = errors.New("given, and given again empty")

// addressOrNone is the value of a flag that may be empty. It may not become empty
// after it was set: that is an unset variable of a script, not a wish.
type addressOrNone struct {
	pflag.Value

	flag *pflag.Flag
}

func (a *addressOrNone) Set(value string) error {
	if value == "" && a.flag.Changed && a.String() != "" {
		return errEmptied
	}
	return a.Value.Set(value)
}

const variablePrefix = "TOKENAGENT_"

// variable returns the name of the environment variable that sets the flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// noVariable lists the flags that no variable sets: they ask for something else
// than what the command does.
var noVariable = []string{"help", "version"} //nolint:gochecknoglobals // a constant

// fromEnvironment sets the flags that the command line left alone. They do not
// count as changed: a variable is often meant for another command.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil || slices.Contains(noVariable, f.Name) {
			return
		}
		var e error
		if list, isList := f.Value.(pflag.SliceValue); isList {
			e = list.Replace(strings.Split(value, ","))
		} else {
			e = f.Value.Set(value)
		}
		switch {
		case e == nil && isEmpty(f), e != nil && value == "":
			err = exitcode.Usage("%s, for --%s, is set and empty%s; give it a value, or unset it", name, f.Name, orElement(f))
		case e != nil:
			err = exitcode.Usage("%s, for --%s, is not of the form %s", name, f.Name, f.Value.Type())
		}
	})
	return err
}

// warnOfUnknown tells of variables that look as if they set a flag and set none of
// any command. It shows no value. A command with a log writes it there.
func warnOfUnknown(cmd *cobra.Command, environ []string) error {
	names := unknownVariables(allFlags(cmd.Root()), environ)
	if len(names) == 0 {
		return nil
	}
	var log *slog.Logger
	if level, format := cmd.Flags().Lookup("log-level"), cmd.Flags().Lookup("log-format"); level != nil && format != nil {
		var err error
		if log, err = newLogger(cmd.ErrOrStderr(), level.Value.String(), format.Value.String()); err != nil {
			return err
		}
	}
	known := allFlags(cmd.Root())
	for i, flag := range known {
		known[i] = variable(flag)
	}
	for _, name := range names {
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

// allFlags returns the names of the flags of all commands, each once.
func allFlags(root *cobra.Command) (names []string) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		names = append(names, flagNames(c.Flags())...)
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	slices.Sort(names)
	return slices.Compact(names)
}

// serviceVariable is what the kubelet sets for each Service of the namespace, with
// that Service's name in capitals before it
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var serviceVariable = regexp.MustCompile(`^(.+?)_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$`)

// unknownVariables returns the variables in environ that begin as ours do and that
// set none of the flags. Those that Kubernetes sets for a Service whose name begins
// with "tokenagent" are not meant for us.
func unknownVariables(flags, environ []string) (names []string) {
	set := make(map[string]bool)
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		set[name] = true
	}
	for name := range set {
		if !strings.HasPrefix(name, variablePrefix) || slices.ContainsFunc(flags, func(f string) bool { return variable(f) == name }) {
			continue
		}
		if m := serviceVariable.FindStringSubmatch(name); m != nil && set[m[1]+"_SERVICE_HOST"] {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
