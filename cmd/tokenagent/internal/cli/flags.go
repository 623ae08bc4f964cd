package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/option"
)

// addRealmFlags adds the flags of topics to cmd and groups the help of cmd by topic. The
// flags set r.
func addRealmFlags(cmd *cobra.Command, r *config.Realm, topics ...config.Topic) {
	cmd.Flags().SortFlags = false // keep the order of the topics
	config.AddFlags(cmd.Flags(), r, topics...)
	cmd.SetUsageFunc(usageByTopic)
}

func usageByTopic(cmd *cobra.Command) error {
	config.SetTopic(cmd.Flags(), "Other")
	var text strings.Builder
	text.WriteString("Usage:\n  " + cmd.UseLine() + "\n\nExamples:\n" + cmd.Example + "\n")
	lines, topic := strings.SplitAfter(cmd.LocalFlags().FlagUsages(), "\n"), ""
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if t := f.Annotations[config.TopicKey][0]; t != topic {
			topic = t
			text.WriteString("\n" + t + ":\n")
		}
		text.WriteString(lines[0])
		lines = lines[1:]
	})
	_, err := io.WriteString(cmd.OutOrStdout(), text.String())
	return err
}

// agentConfig returns the configuration of the agent for the settings in r. An invalid
// setting is a usage error.
func agentConfig(cmd *cobra.Command, r *config.Realm, use config.Use, log *slog.Logger) (agent.Config, error) {
	cmd.Flags().Visit(func(f *pflag.Flag) { r.Given[f.Name] = 0 }) // without the flags that variables set
	given := func(name string) bool { _, ok := r.Given[name]; return ok }
	if !given("issuer") && r.Issuer.KeyFile == "" && r.Issuer.JWKSURL == "" && !r.Issuer.Kubernetes && slices.ContainsFunc([]string{"token-file", "token-env", "env-file"}, given) {
		r.Issuer.JWT.Issuer = "" // a variable for another command must not add a second source, which is discovered
	}
	if err := r.Validate(use); err != nil {
		return agent.Config{}, exitcode.With(2, err)
	}
	return r.AgentConfig(use, log), nil
}

// startAgent starts an agent. An invalid or missing setting is a usage error. An error of
// the source is not.
func startAgent(ctx context.Context, cfg agent.Config) (*agent.Agent, error) {
	a, err := agent.Start(ctx, cfg)
	if _, ok := errors.AsType[*option.Error](err); ok {
		return nil, exitcode.With(2, err)
	}
	return a, err
}

// printAnswer prints the answer of a command: v as JSON if output asks for it, otherwise
// text. If the answer is not ok, the error is [exitcode.Refused].
func printAnswer(cmd *cobra.Command, output string, v any, text string, ok bool) error {
	if output == choice.JSON {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		// JSON leaves some characters that control a terminal as they are.
		if err := json.Indent(&b, []byte(termsafe.Text(string(line))), "", "  "); err != nil {
			return err
		}
		text = b.String() + "\n"
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	if !ok {
		return exitcode.Refused
	}
	return nil
}

// logFlags are the flags of a command that writes a log.
type logFlags struct{ level, format string }

func (l *logFlags) add(f *pflag.FlagSet) {
	l.level = "info"
	choice.Add(f, &l.level, "log-level", "`LEVEL` of the least important lines in the log: debug, info, warn or error", "debug", "info", "warn", "error")
	choice.Add(f, &l.format, "log-format", "`FORM` of the log on standard error: text or json", "text", choice.JSON)
	config.SetTopic(f, "Logging")
}

func (l *logFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.level)) // the flag accepts only levels
	o := &slog.HandlerOptions{Level: level}
	if l.format == choice.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
