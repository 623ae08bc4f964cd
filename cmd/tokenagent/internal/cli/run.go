package cli

import (
	"context"
	"errors"
	"io"
	stdlog "log" //nolint:depguard // to take it away from libraries
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/option"
)

// runFlags are the flags of run.
type runFlags struct {
	realm                     config.Realm
	listeners                 listenFlags
	listen, grpcListen, admin string
	configFile                string
	upstream, healthPath      string
	allowPath                 []string
	endRevoked                bool
	drain, shutdownDelay      time.Duration
	logLevel, logFormat       string
}

func newRun() *cobra.Command {
	r := runFlags{realm: config.Defaults()}
	cmd := &cobra.Command{
		Use:         "run",
		Annotations: map[string]string{ownSignals: "true"},
		Short:       "Verify tokens for another program, as forward-auth or as a reverse proxy",
		Long: `run watches its sources and answers on --listen. It accepts shared tokens, of
--token-file, --env-file or --token-env; JSON Web Tokens that a key of --key-file
or --jwks-url signed, with the iss and an aud that --issuer and --audience give;
or both.

Without --upstream it is a forward-auth endpoint, for nginx auth_request, Traefik
ForwardAuth, Caddy forward_auth and Envoy ext_authz over HTTP: any method and path
is answered 200 or 401, and 503 until the source is loaded. --grpc-listen answers
Envoy ext_authz over gRPC by the same rules, and grpc.health.v1.Health.

With --upstream it is a reverse proxy for HTTP/1.1 and h2c (gRPC): what carries an
accepted token goes on without it. Of upgrades WebSocket passes, with a token;
no other does, since nobody would ask for tokens in it.

SIGHUP reads the source again. SIGTERM drains and exits 0; with --shutdown-delay new
connections are taken for that long first, while /readyz says 503; a second SIGTERM
or SIGINT ends that.`,
		Example: `  tokenagent run --token-file /var/run/secrets/app-api-token --listen 127.0.0.1:9465
  tokenagent run --token-file ./token --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000 --health-path /healthz
  tokenagent run --token-file /var/run/secrets/app-api-token --grpc-listen unix:///run/tokenagent/authz.sock
  tokenagent run --jwks-url https://issuer.example/jwks.json --issuer https://issuer.example --audience orders --wait-for-source`,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.SortFlags = false // topics come in this order
	f.StringVar(&r.configFile, "config", "", "`FILE` of realms, instead of one source")
	f.StringVar(&r.realm.Source.Name, "name", r.realm.Source.Name, "`NAME` of the token source in metrics and logs, and the subject of its callers")
	config.AddFlags(f, &r.realm, config.Tokens, config.Reading, config.Signed, config.Overlap, config.Request)
	f.StringVar(&r.listen, "listen", "127.0.0.1:9465", "`ADDR` of forward-auth or proxy: host:port or unix:///path")
	f.StringVar(&r.grpcListen, "grpc-listen", "", "`ADDR` of Envoy ext_authz over gRPC and of grpc health; empty for none")
	allowEmpty(cmd, "grpc-listen")
	f.StringVar(&r.admin, "admin-listen", "127.0.0.1:9464", "`ADDR` of /metrics, /livez, /readyz and /status; empty for none")
	allowEmpty(cmd, "admin-listen")
	f.DurationVar(&r.shutdownDelay, "shutdown-delay", 0, "`DURATION` after SIGTERM for which connections are still accepted while /readyz answers 503")
	f.DurationVar(&r.drain, "drain-timeout", 20*time.Second, "`DURATION` that requests may then take to end")
	config.SetTopic(f, "Listeners")
	f.StringVar(&r.upstream, "upstream", "", "`URL` of the app behind the proxy: http, https, h2c, unix or h2c+unix, without a path on a host")
	f.StringArrayVar(&r.allowPath, "allow-path", nil, "`[METHOD ]/path` that needs no token, exact; repeatable")
	f.StringVar(&r.healthPath, "health-path", "", "`PATH` of the app's health check, without a token; 503 until the source is loaded")
	f.BoolVar(&r.endRevoked, "end-revoked-streams", false, "end requests, streams and WebSockets when their token is revoked")
	config.SetTopic(f, "Proxy")
	r.listeners.add(cmd)
	config.SetTopic(f, "TLS and Unix sockets")
	f.StringVar(&r.logLevel, "log-level", "info", "minimum `LEVEL` to log: debug, info, warn or error")
	f.StringVar(&r.logFormat, "log-format", "text", "`FORM` of the log on standard error: text or json")
	config.SetTopic(f, "Logging")
	cmd.SetUsageFunc(usageByTopic)
	return cmd
}

// usageByTopic prints the flags under their topics.
func usageByTopic(cmd *cobra.Command) error {
	config.SetTopic(cmd.Flags(), "Other") // --help
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

func (r *runFlags) run(cmd *cobra.Command) error {
	// First of all: by default the signal would end the process, however early.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log, err := newLogger(cmd.ErrOrStderr(), r.logLevel, r.logFormat)
	if err != nil {
		return err
	}
	protect(log)
	stdlog.SetFlags(0)
	stdlog.SetOutput(foreign{log})
	if r.configFile != "" {
		if err := realmsAlone(cmd); err != nil {
			return err
		}
		only := config.Defaults() // variables are not for the realms of the file either
		only.Rotation.Poll, only.Rotation.Debounce = r.realm.Rotation.Poll, r.realm.Rotation.Debounce
		r.realm = only
	}
	o, err := r.options(log)
	if err != nil {
		return err
	}
	if err := r.listeners.config(cmd, &o); err != nil {
		return err
	}
	cfg, err := agentConfig(cmd, &r.realm, config.Run, log)
	if err != nil {
		return err
	}
	o.Poll, o.Debounce = cfg.Poll, cfg.Debounce // certificates, and the file of realms, are watched as sources are
	o.Hangup = hangup
	realms, stop, err := r.realms(cmd.Context(), cfg, o)
	if err != nil {
		if cmd.Context().Err() != nil && exitcode.Of(err) != 2 {
			return nil // told to end before it began
		}
		return err
	}
	defer stop()
	return daemon.Run(cmd.Context(), realms, o)
}

// realms starts the agent of cfg, or those of --config.
func (r *runFlags) realms(ctx context.Context, cfg agent.Config, o daemon.Options) (realms *realm.Set, stop func(), err error) {
	ro := realm.Options{Auth: o.Auth(), Logger: o.Logger, Poll: o.Poll, Debounce: o.Debounce}
	if r.configFile != "" {
		s, err := realm.Open(ctx, r.configFile, realmParser(r.configFile, o.Logger), ro)
		if err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Close() }, nil
	}
	a, err := startAgent(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return realm.Single(a, o.Headers, ro), func() { _ = a.Close() }, nil
}

// agentConfig returns the agent's configuration that the flags of cmd make of r. What
// is wrong with them is a usage error.
func agentConfig(cmd *cobra.Command, r *config.Realm, use config.Use, log *slog.Logger) (agent.Config, error) {
	cmd.Flags().Visit(func(f *pflag.Flag) { r.Given[f.Name] = 0 }) // variables are not among them
	if err := r.Validate(use); err != nil {
		return agent.Config{}, exitcode.With(2, err)
	}
	return r.Agent(log), nil
}

// startAgent starts an agent of flags. What is wrong with one of them, or that the
// source is none, is a usage error; what is wrong with the source is not.
func startAgent(ctx context.Context, cfg agent.Config) (*agent.Agent, error) {
	a, err := agent.Start(ctx, cfg)
	if _, ok := errors.AsType[*option.Error](err); ok {
		return nil, exitcode.With(2, err)
	}
	return a, err
}

func (r *runFlags) options(log *slog.Logger) (daemon.Options, error) {
	o := daemon.Options{
		Listen: r.listen, GRPCListen: r.grpcListen, AdminListen: r.admin, AllowPaths: r.allowPath, HealthPath: r.healthPath,
		Headers: r.realm.Headers, DrainTimeout: r.drain, ShutdownDelay: r.shutdownDelay, Logger: log, EndRevoked: r.endRevoked,
	}
	if r.upstream != "" {
		u, err := parseUpstream(r.upstream)
		if err != nil {
			return o, err
		}
		o.Upstream = u
	}
	if o.Upstream == nil && (len(r.allowPath) > 0 || r.healthPath != "") {
		return o, exitcode.Usage("--allow-path and --health-path go with --upstream; a gateway that asks forward-auth has its own exemptions")
	}
	if o.Upstream == nil && r.endRevoked {
		return o, exitcode.Usage("--end-revoked-streams goes with --upstream; forward-auth holds no stream")
	}
	for _, other := range []struct{ flag, addr string }{{"listen", r.listen}, {"admin-listen", r.admin}} {
		if r.grpcListen != "" && r.grpcListen == other.addr && !strings.HasSuffix(other.addr, ":0") {
			return o, exitcode.Usage("--grpc-listen and --%s are the same address; each needs its own", other.flag)
		}
	}
	if r.drain < 0 {
		return o, exitcode.Usage("--drain-timeout must not be negative")
	}
	if r.shutdownDelay < 0 {
		return o, exitcode.Usage("--shutdown-delay must not be negative; 0s means that new connections are refused at once")
	}
	if err := o.Validate(); err != nil {
		return o, exitcode.Usage("%w", err)
	}
	return o, nil
}

// foreign takes what libraries write to the standard logger, such as net/http's
// word about an answer that nobody asked for, which quotes it.
type foreign struct{ log *slog.Logger }

func (f foreign) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), " starting with ")
	f.log.Debug("from a library", "text", strings.TrimSpace(text))
	return len(line), nil
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
