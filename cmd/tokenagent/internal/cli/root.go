// Package cli implements the command line of tokenagent. Messages are in lower case, begin
// with the program's name and say how to fix the error. All flags are long, and an
// environment variable can set each of them. No token is ever an argument. Package exitcode
// describes the exit codes.
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
	"slices"
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

// ownSignals is the annotation of a command that handles SIGTERM and SIGINT itself: run
// drains, and exec forwards them.
const ownSignals = "own-signals"

// grace is the time that a command has to end by itself after a signal, for example to
// remove a half-written file.
const grace = time.Second

// Main runs the command that args name and returns the exit code. version is the
// version of the program; "" means the version that the build recorded.
//
// SIGINT and SIGTERM end ctx, and with it the command. The exit code is then 130, unless
// the command still succeeds.
func Main(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	buildinfo.Set(version)
	if len(args) > 0 && args[0] == "help" { // cobra's own help accepts unknown commands
		args = append(slices.Clone(args[1:]), "--help")
	}
	root := newRoot() //nolint:contextcheck // its commands get theirs from ExecuteContextC
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := execute(ctx, root, args)
	if err == nil {
		return 0
	}
	code := exitcode.Of(err)
	if errors.Is(err, exitcode.Refused) {
		return code // it may be the code of a program that exec ran, even 2
	}
	fmt.Fprintf(stderr, "tokenagent: %s\n", termsafe.Lines(option.Text(err, spelling(cmd))))
	if code == 2 {
		fmt.Fprintf(stderr, "tokenagent: see '%s --help'\n", cmd.CommandPath())
	}
	return code
}

// execute runs the command that args name. After ctx has ended it waits only for grace:
// a read from a pipe or a network file system cannot be cancelled.
func execute(ctx context.Context, root *cobra.Command, args []string) (*cobra.Command, error) {
	target, rest, _ := root.Find(args)
	if namesNoCommand(target, rest) {
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
	var interrupted <-chan struct{}
	if target.Annotations[ownSignals] == "" {
		interrupted = ctx.Done()
	}
	select {
	case r := <-done:
		return r.cmd, r.err
	case <-interrupted:
	}
	select {
	case r := <-done:
		if exitcode.Of(r.err) == 1 && !errors.Is(r.err, exitcode.Refused) {
			r.err = exitcode.Interrupted // the command failed because of the signal
		}
		return r.cmd, r.err
	case <-time.After(grace):
		return target, exitcode.Interrupted
	}
}

// namesNoCommand reports whether rest, the arguments after target, begins with a command
// that does not exist. Cobra would not report it if --help follows.
func namesNoCommand(target *cobra.Command, rest []string) bool {
	return target.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !strings.HasPrefix(rest[0], cobra.ShellCompRequestCmd)
}

// noSuchCommand returns the error for a command that parent does not have. It does not
// quote the name, which may be a token.
func noSuchCommand(parent *cobra.Command, rest []string) error {
	hint := ""
	if near := parent.SuggestionsFor(rest[0]); len(near) > 0 {
		hint = "; did you mean " + near[0] + "?"
	}
	if parent.HasParent() {
		return exitcode.Usage("%s has no command of that name%s", parent.Name(), hint)
	}
	return exitcode.Usage("there is no command of that name%s", hint)
}

// Root returns the command tokenagent, for the generator of the reference.
func Root() *cobra.Command { return newRoot() }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tokenagent",
		Short: "Make the rotation of a shared token a non-event",
		Long: `tokenagent keeps the set of accepted tokens in step with its source: a file, a
mounted Kubernetes Secret, an env file or an environment variable. During a rotation
it accepts the old token and the new one, and it shows whether the old one is still
in use. It accepts signed tokens (JWT) by keys that rotate in the same way.

Each flag can also be set by an environment variable: TOKENAGENT_TOKEN_FILE sets
--token-file. The variable of a repeatable flag separates values by commas.`,
		Example: `  tokenagent demo                       # watch a rotation under load
  tokenagent check --token-file PATH    # explain a token file or a mounted Secret
  tokenagent run --token-file PATH --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000
  tokenagent rotate run --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME
  source <(tokenagent completion bash)  # complete commands, flags and values`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Version:                    buildinfo.Version(),
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return exitcode.Usage("a command is missing")
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := readVariables(cmd.Flags()); err != nil {
				return err
			}
			warnOfUnknown(cmd.ErrOrStderr(), cmd.Root(), os.Environ())
			return refuseEmpty(cmd.Flags())
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate(versionLine())
	root.Flags().Bool("version", false, "print the version")
	root.AddCommand(newRun(), newCheck(), newVerify(), newStatus(), newInspect(), newExec(), newVersion(), generate.Command(), rotate.Command(), demo.Command(), plan.Command())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
		if c.Name() == "completion" { // cobra's errors quote arguments
			c.Short = "Print a script that completes commands, flags and values in a shell"
			for _, shell := range c.Commands() {
				shell.Args = noArguments
			}
		}
	}
	addCompletions(root)
	return root
}

// flagError returns the error for a wrong flag. It quotes no value, since a misplaced
// value may be a token.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return invalidValue(e.GetFlag(), e.GetValue())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok && e.GetFlag() != nil {
		return exitcode.Usage("--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() == "" {
		return unknownFlag(e.GetSpecifiedName(), cmd.Flags())
	}
	return exitcode.Usage("only long flags exist; write --name VALUE or --name=VALUE")
}

// flagName is the form of a flag's name. An unknown flag of another form is not quoted,
// since it may be a token.
var flagName = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)*$`)

func unknownFlag(name string, flags *pflag.FlagSet) error {
	var known []string
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	hint := config.DidYouMean(name, known)
	if hint == "" && (len(name) > 32 || !flagName.MatchString(name)) {
		return exitcode.Usage("there is no flag of that name")
	}
	return exitcode.Usage("unknown flag: --%s%s", name, strings.Replace(hint, "mean ", "mean --", 1))
}

// noArguments refuses arguments without quoting them, since one may be a token.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exitcode.Usage("%s takes no arguments, only flags; a token comes on standard input or from a file", cmd.Name())
	}
	return nil
}

// versionLine returns what version and --version print.
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
