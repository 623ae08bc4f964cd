// Package cli is the command line of tokenagent. Messages are in lower case, begin with
// the program's name and say how to fix what is wrong. All flags are long, and each can
// be set as an environment variable. The exit code is 0 good, 1 refused or failed, 2
// usage, 130 interrupted; exec alone ends with the code of its program. No token is ever
// an argument.
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

// ownSignals marks a command that handles SIGTERM and SIGINT itself: run drains, exec
// forwards them.
const ownSignals = "own-signals"

// grace is how long after a signal a command may take to end by itself, for example to
// remove a half-written file.
const grace = time.Second

// Main runs the command that args name and returns the exit code. version is the
// version of the program; "" means the one that its build recorded.
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
	addCompletion(root)
	cmd, err := execute(ctx, root, args)
	if err == nil {
		return 0
	}
	code := exitcode.Of(err)
	if !errors.Is(err, exitcode.Refused) {
		fmt.Fprintf(stderr, "tokenagent: %s\n", termsafe.Lines(option.Text(err, spelling(cmd))))
	}
	if code == 2 {
		fmt.Fprintf(stderr, "tokenagent: see '%s --help'\n", cmd.CommandPath())
	}
	return code
}

// execute runs the command that args name. If ctx ends, it leaves a command behind that
// does not end within grace: a read from a pipe or a network file system cannot be
// cancelled.
func execute(ctx context.Context, root *cobra.Command, args []string) (*cobra.Command, error) {
	target, rest, _ := root.Find(args)
	if target != nil && namesNoCommand(target, rest) {
		return target, noSuchCommand(target, rest)
	}
	type result struct {
		cmd *cobra.Command
		err error
	}
	done := make(chan result, 1)
	go func() {
		cmd, err := root.ExecuteContextC(ctx)
		done <- result{cmd, err}
	}()
	if target != nil && target.Annotations[ownSignals] != "" {
		r := <-done
		return r.cmd, r.err
	}
	select {
	case r := <-done:
		return r.cmd, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		if exitcode.Of(r.err) == 1 && !errors.Is(r.err, exitcode.Refused) {
			r.err = exitcode.Interrupted // the cause of what failed
		}
		return r.cmd, r.err
	case <-time.After(grace):
		return target, exitcode.Interrupted
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
		Version:                    buildinfo.Version(),
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

// flagError says what is wrong with the flags. It quotes no value, since a misplaced
// one may be a token.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if config.IsEmpty(e.GetValue()) {
			return emptyFlag(e.GetFlag())
		}
		return exitcode.Usage("--%s must be %s", e.GetFlag().Name, config.Form(e.GetFlag().Value))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok && e.GetFlag() != nil {
		return exitcode.Usage("--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() == "" {
		return unknownFlag(e.GetSpecifiedName(), cmd.Flags())
	}
	return exitcode.Usage("there are long flags alone, as --name or --name=value")
}

// flagForm is the form of a flag's name. An unknown flag of another form is not quoted:
// it may be a token.
var flagForm = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)*$`)

func unknownFlag(name string, flags *pflag.FlagSet) error {
	var known []string
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := config.Nearest(name, known); near != "" {
		return exitcode.Usage("unknown flag: --%s; did you mean --%s?", name, near)
	}
	if len(name) <= 32 && flagForm.MatchString(name) {
		return exitcode.Usage("unknown flag: --%s", name)
	}
	return exitcode.Usage("there is no flag of that name")
}

// noArguments refuses arguments without quoting them: one of them may be a token.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exitcode.Usage("%s takes no arguments, only flags; a token comes on standard input or from a file", cmd.Name())
	}
	return nil
}

// addCompletion adds cobra's command completion, whose own errors quote arguments.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = noArguments
			for _, shell := range c.Commands() {
				shell.Args = noArguments
			}
		}
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

// newHelp returns the command help, which unlike cobra's refuses unknown commands.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print what a command does and its flags",
		Args:  cobra.ArbitraryArgs,
		// A bad environment variable is no reason to withhold help.
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

// namesNoCommand reports whether rest, the arguments behind target, begins with a
// command that does not exist. If --help follows it, cobra would show the help of target.
func namesNoCommand(target *cobra.Command, rest []string) bool {
	return target.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !strings.HasPrefix(rest[0], cobra.ShellCompRequestCmd)
}

// noSuchCommand says that parent has no command with the name that rest begins with.
// It does not quote the name: it may be a token.
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
