package cli

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/plain"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// source is the flags that say where the tokens are.
type source struct {
	tokenFile, tokenEnv, envFile string
	minTokenBytes                int
}

func (s *source) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.tokenFile, "token-file", "", "`PATH` of the token file, or of a directory such as a mounted Secret")
	f.StringVar(&s.tokenEnv, "token-env", "", "`NAME` of the environment variable that holds the token; with --env-file, of the key in it (default "+agent.DaprTokenEnv+")")
	f.StringVar(&s.envFile, "env-file", "", "`PATH` of a file of KEY=value lines that holds the token")
	f.IntVar(&s.minTokenBytes, "min-token-bytes", verify.DefaultMinTokenBytes, "shortest token that is accepted, in bytes")
}

// config returns the agent's configuration, without rotation and watching.
func (s *source) config(log *slog.Logger) (agent.Config, error) {
	switch {
	case s.tokenFile != "" && s.envFile != "":
		return agent.Config{}, fail.Usage("{token-file} and {env-file} are both set; one source is meant")
	case s.tokenFile != "" && s.tokenEnv != "":
		return agent.Config{}, fail.Usage("{token-file} and {token-env} are both set; one source is meant")
	case s.minTokenBytes < 1:
		return agent.Config{}, fail.Usage("{min-token-bytes} must be at least 1")
	}
	return agent.Config{
		TokenFile: s.tokenFile, TokenEnv: s.tokenEnv, EnvFile: s.envFile,
		MinTokenBytes: s.minTokenBytes, Logger: log,
	}, nil
}

// startAgent starts an agent of flags. What is wrong with one of them, or that the
// source is none, is a usage error; what is wrong with the source is not.
func startAgent(ctx context.Context, cfg agent.Config) (*agent.Agent, error) {
	a, err := agent.Start(ctx, cfg)
	if _, ok := errors.AsType[*option.Error](err); ok {
		return nil, fail.Exit(2, err)
	}
	return a, err
}

// span turns a duration flag into a Config's field, where 0 means the default
// and a negative one means none. On the command line 0 says none.
func span(name string, d time.Duration) (time.Duration, error) {
	switch {
	case d < 0:
		return 0, fail.Usage("{" + name + "} must not be negative; 0s means none")
	case d == 0:
		return -1, nil
	default:
		return d, nil
	}
}

// outputs are the values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

// readable returns text from outside in a form in which it can be shown: what
// a terminal could take for more than text is escaped, and what is not plain to
// read stands in quotes.
func readable(text string) string {
	if text == "" || plain.Text(text) != text || strings.ContainsAny(text, ` ,;"\`) {
		return inspect.Quote(text)
	}
	return text
}

func addOutput(cmd *cobra.Command, p *string) {
	cmd.Flags().StringVar(p, "output", outputText, "`FORM` of the answer: text or json")
}

func checkOutput(form string) error {
	if form != outputText && form != outputJSON {
		return fail.Usage("{output} must be text or json")
	}
	return nil
}
