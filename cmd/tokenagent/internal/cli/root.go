// Package cli is the command line of tokenagent: one voice (lower-case, prefixed
// with the program's name, how to fix it in the same line), long flags that the
// environment can set too, and four exit codes: 0 good, 1 refused or failed, 2
// usage, 130 interrupted; exec alone ends with the code of its program. No token
// is ever an argument.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/demo"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/generate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/plan"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/buildinfo"
	"github.com/tokenagent/tokenagent/internal/option"
)

// ownSignals marks a command that decides itself what SIGTERM and SIGINT mean to
// it: run drains, exec passes them on.
const ownSignals = "own-signals"

// grace is how long after a signal a command may take to end by itself, so that it
// can remove what it has half done, before it is left behind. What waits for
// nothing but ctx ends at once.
const grace = time.Second

// Main runs the command that args name and returns the exit code. version is
// the program's own; "" means that of the build's record.
//
// SIGINT and SIGTERM end ctx, and the command with it: exit code 130, unless it
// succeeded all the same.
func Main(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	buildinfo.Set(version)
	root := newRoot() //nolint:contextcheck // its commands get theirs from ExecuteContextC
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			quoteNoArguments(c)
		}
	}
	target, rest, _ := root.Find(args)
	own := target != nil && target.Annotations[ownSignals] != ""
	type end struct {
		cmd *cobra.Command
		err error
	}
	ended := make(chan end, 1)
	go func() {
		if err := unknown(target, rest); err != nil {
			ended <- end{target, err}
			return
		}
		cmd, err := root.ExecuteContextC(ctx)
		ended <- end{cmd, err}
	}()
	var e end
	if own {
		e = <-ended
	} else {
		e = await(ctx, ended, end{target, exitcode.Interrupted})
		if ctx.Err() != nil && exitcode.Of(e.err) == 1 && !errors.Is(e.err, exitcode.Refused) {
			e.err = exitcode.Interrupted // what failed because of that has nothing to add
		}
	}
	code := exitcode.Of(e.err)
	if e.err != nil && !errors.Is(e.err, exitcode.Refused) {
		fmt.Fprintf(stderr, "tokenagent: %s\n", termsafe.Lines(option.Text(e.err, option.Flag)))
		if code == 2 {
			fmt.Fprintf(stderr, "tokenagent: see '%s --help'\n", e.cmd.CommandPath())
		}
	}
	return code
}

// await returns what comes on ended, and late if that takes longer than grace
// after the end of ctx: a read from a pipe or a network file system cannot be
// told to stop.
func await[T any](ctx context.Context, ended <-chan T, late T) T {
	select {
	case e := <-ended:
		return e
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case e := <-ended:
		return e
	case <-t.C:
		return late
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tokenagent",
		Short: "Make the rotation of a shared token a non-event",
		Long: `tokenagent keeps the set of accepted tokens in step with its source (a file, a
mounted Kubernetes Secret, an env file or an environment variable), accepts the
old one and the new one through an overlap window, and shows whether the old one
is still in use. Signed tokens (JWT) it accepts by keys that rotate in the same way.

Each flag can be set as an environment variable too: --token-file is
TOKENAGENT_TOKEN_FILE. A flag that may be repeated takes commas there.`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_ = cmd.Help()
				return exitcode.Usage("a command is missing")
			}
			return noSuchCommand(cmd, args)
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := emptyFlags(cmd.Flags()); err != nil {
				return err
			}
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			return warnOfUnknown(cmd, os.Environ())
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.Version = buildinfo.Version()
	root.SetVersionTemplate(versionLine())
	root.Flags().Bool("version", false, "print the version")
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRun(), newCheck(), newVerify(), newStatus(), newInspect(), newExec(), newVersion(), generate.Command(), rotate.Command(), demo.Command(), plan.Command())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	return root
}

// flagError says what is wrong with the flags, and quotes no value: one that
// went astray might be a token.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if errors.Is(err, errEmptied) {
			return exitcode.Usage("--%s is given twice, and empty the second time; give it once", e.GetFlag().Name)
		}
		if e.GetValue() == "" {
			return emptyFlag(e.GetFlag())
		}
		return exitcode.Usage("--%s is not of the form %s", e.GetFlag().Name, e.GetFlag().Value.Type())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok && e.GetFlag() != nil {
		return exitcode.Usage("--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() == "" {
		return unknownFlag(e.GetSpecifiedName(), flagNames(cmd.Flags()))
	}
	return exitcode.Usage("there are long flags alone, as --name or --name=value")
}

// flagForm is what the name of a flag looks like. Only such a name is quoted:
// anything else may be a token.
var flagForm = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)*$`)

// unknownFlag says that no flag is called name, and which one may be meant.
func unknownFlag(name string, flags []string) error {
	near := config.Nearest(name, flags)
	for _, f := range flags {
		if near == "" && strings.HasPrefix(f, name+"-") {
			near = f
		}
	}
	switch {
	case near != "":
		return exitcode.Usage("unknown flag: --%s; did you mean --%s?", name, near)
	case len(name) <= 32 && flagForm.MatchString(name):
		return exitcode.Usage("unknown flag: --%s", name)
	default:
		return exitcode.Usage("there is no flag of that name")
	}
}

func flagNames(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// noArguments refuses stray arguments without quoting them: one of them might
// be a token.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exitcode.Usage("%s takes no arguments, only flags; a token comes on standard input or from a file", cmd.Name())
	}
	return nil
}

// quoteNoArguments has c and its commands refuse arguments as ours do: cobra's own
// quote them.
func quoteNoArguments(c *cobra.Command) {
	c.Args = noArguments
	for _, sub := range c.Commands() {
		quoteNoArguments(sub)
	}
}

// versionLine is what version and --version print.
func versionLine() string {
	return fmt.Sprintf("tokenagent %s (%s)\n", buildinfo.Version(), runtime.Version())
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

// newHelp is the command help, which refuses what it knows nothing of.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print what a command does and its flags",
		Args:  cobra.ArbitraryArgs,
		// A bad variable of the environment is no reason to withhold help.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noSuchCommand(target, rest)
			}
			return target.Help()
		},
	}
}

// noSuchCommand says that parent has no command of the name that rest begins with.
// It does not quote it: it may be a token.
func noSuchCommand(parent *cobra.Command, rest []string) error {
	hint := ""
	if parent != nil && len(rest) > 0 {
		if near := parent.SuggestionsFor(rest[0]); len(near) > 0 {
			hint = "; did you mean " + near[0] + "?"
		}
	}
	if parent == nil || parent.Root() == parent {
		return exitcode.Usage("there is no command of that name%s", hint)
	}
	return exitcode.Usage("%s has no command of that name%s", parent.Name(), hint)
}

// unknown returns an error where args name a command that there is none of. cobra
// would show help instead, if --help stands behind it.
func unknown(target *cobra.Command, rest []string) error {
	if target == nil || !target.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") || strings.HasPrefix(rest[0], cobra.ShellCompRequestCmd) {
		return nil
	}
	return noSuchCommand(target, rest)
}
