package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/internal/option"
)

// addRealmFlags adds the flags of topics, which set r, and groups the help of cmd by
// topic.
func addRealmFlags(cmd *cobra.Command, r *config.Realm, topics ...config.Topic) {
	cmd.Flags().SortFlags = false // topics come in this order
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

// agentConfig returns the agent's configuration of r, which the flags of cmd have set.
// An invalid flag is a usage error.
func agentConfig(cmd *cobra.Command, r *config.Realm, use config.Use, log *slog.Logger) (agent.Config, error) {
	cmd.Flags().Visit(func(f *pflag.Flag) { r.Given[f.Name] = 0 }) // except those that variables set
	if err := r.Validate(use); err != nil {
		return agent.Config{}, exitcode.With(2, err)
	}
	return r.Agent(log), nil
}

// startAgent starts an agent. An invalid flag, or that no source is given, is a usage
// error; an error of the source is not.
func startAgent(ctx context.Context, cfg agent.Config) (*agent.Agent, error) {
	a, err := agent.Start(ctx, cfg)
	if _, ok := errors.AsType[*option.Error](err); ok {
		return nil, exitcode.With(2, err)
	}
	return a, err
}

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

func addOutput(cmd *cobra.Command, p *string) {
	cmd.Flags().StringVar(p, "output", outputText, "`FORM` of the answer: text or json")
}

func checkOutput(form string) error {
	if form != outputText && form != outputJSON {
		return exitcode.Usage("{output} must be text or json")
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// logFlags are the flags of commands with a log.
type logFlags struct{ level, format string }

func (l *logFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "`LEVEL` from which to log: debug, info, warn or error")
	f.StringVar(&l.format, "log-format", "text", "`FORM` of the log on standard error: text or json")
	config.SetTopic(f, "Logging")
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	switch level {
	case "debug", "info", "warn", "error":
		_ = l.UnmarshalText([]byte(level))
	default:
		return nil, exitcode.Usage("--log-level must be debug, info, warn or error")
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	default:
		return nil, exitcode.Usage("--log-format must be text or json")
	}
}
