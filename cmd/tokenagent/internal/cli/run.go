package cli

import (
	"context"
	stdlog "log" //nolint:depguard // to redirect what libraries log
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/server"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// runFlags are the flags of run.
type runFlags struct {
	realm                config.Realm
	serve                listenFlags
	configFile, upstream string
	log                  logFlags
}

func newRun() *cobra.Command {
	r := runFlags{realm: config.Defaults()}
	cmd := &cobra.Command{
		Use:         "run",
		Annotations: map[string]string{ownSignals: "true"},
		Short:       "Verify tokens for another program, by forward auth or as a reverse proxy",
		Long: `run accepts shared tokens from --token-file, --env-file or --token-env, JSON Web
Tokens that a key of --key-file or --jwks-url signed, or both.

Without --upstream it answers forward auth for nginx, Traefik, Caddy and Envoy on
--listen: 200 or 401, and 503 until the source is loaded. --grpc-listen answers Envoy
ext_authz over gRPC by the same rules. With --upstream it is a reverse proxy for
HTTP/1.1, h2c (gRPC) and WebSockets, which removes an accepted token.

SIGHUP reads the source again. SIGTERM drains and exits 0. With --shutdown-delay it
first accepts connections for that long while /readyz says 503; a second SIGTERM or
SIGINT ends the delay.`,
		Example: `  tokenagent run --token-file /var/run/secrets/app-api-token --listen 127.0.0.1:9465`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.configFile, "config", "", "`FILE` of realms, instead of one source")
	f.StringVar(&r.realm.Config.Name, "name", r.realm.Config.Name, "`NAME` of the token source in metrics and logs, and the subject of its callers")
	addRealmFlags(cmd, &r.realm, config.Tokens, config.Reading, config.Signed, config.Overlap, config.Request)
	o := &r.serve
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9465", "`ADDR` of forward auth or the proxy: host:port or unix:///path")
	f.StringVar(&o.GRPCListen, "grpc-listen", "", "`ADDR` of Envoy ext_authz over gRPC and of grpc health; empty for none")
	f.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:9464", "`ADDR` of /metrics, /livez, /readyz and /status; empty for none")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay", 0, "`DURATION` after SIGTERM for which connections are still accepted while /readyz answers 503")
	f.DurationVar(&o.DrainTimeout, "drain-timeout", 20*time.Second, "`DURATION` that open requests have to end after that")
	config.SetTopic(f, "Listeners")
	f.StringVar(&r.upstream, "upstream", "", "`URL` of the app behind the proxy: http, https or h2c with host and port, or unix or h2c+unix with the path of a socket")
	f.StringArrayVar(&o.AllowPaths, "allow-path", nil, "`[METHOD ]/path` that needs no token, compared exactly; repeatable")
	f.StringVar(&o.HealthPath, "health-path", "", "`PATH` of the app's health check, without a token; 503 until the source is loaded")
	f.BoolVar(&o.EndRevoked, "end-revoked-streams", false, "end requests, streams and WebSockets when their token is revoked")
	config.SetTopic(f, "Proxy")
	addTLSFlags(f, "", &o.TLS, "--listen and --grpc-listen")
	o.addAccessFlags(f)
	r.log.add(f)
	allowEmpty(f, "grpc-listen")
	allowEmpty(f, "admin-listen")
	return cmd
}

func (r *runFlags) run(cmd *cobra.Command) error {
	// Catch SIGHUP first, because by default it ends the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log := r.log.logger(cmd.ErrOrStderr())
	protectMemory(log)
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraryLog{log})
	if r.configFile != "" {
		if err := refuseRealmFlags(cmd); err != nil {
			return err
		}
		poll, debounce := r.realm.Config.Poll, r.realm.Config.Debounce
		r.realm = config.Defaults() // drops settings of environment variables
		r.realm.Config.Poll, r.realm.Config.Debounce = poll, debounce
	}
	o := &r.serve.Options
	o.Logger, o.Hangup = log, hangup
	if err := r.check(cmd); err != nil {
		return err
	}
	cfg, err := agentConfig(cmd, &r.realm, config.Run, log)
	if err != nil {
		return err
	}
	o.Poll, o.Debounce = cfg.Poll, cfg.Debounce // also for certificates and the file of realms
	realms, closeAll, err := r.open(cmd.Context(), cfg)
	if err != nil {
		if cmd.Context().Err() != nil && exitcode.Of(err) != 2 {
			return nil // a signal ended the start
		}
		return err
	}
	defer func() { _ = closeAll() }()
	return server.Run(cmd.Context(), realms, *o)
}

// open starts the agents of --config, or the only agent, of cfg.
func (r *runFlags) open(ctx context.Context, cfg agent.Config) (realms *realm.Set, closeAll func() error, err error) {
	o := &r.serve
	options := realm.Options{Auth: o.Auth(), Logger: o.Logger, Poll: o.Poll, Debounce: o.Debounce}
	if r.configFile != "" {
		parse := func(c reload.Content) (*realm.Plan, error) { return config.ParseFile(r.configFile, c.Data, o.Logger) }
		realms, err = realm.Open(ctx, r.configFile, parse, options)
		return realms, realms.Close, err
	}
	a, err := startAgent(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return realm.Single(a, r.realm.Spec, options), a.Close, nil
}

// check validates the flags of listeners and of the proxy, and sets Upstream.
func (r *runFlags) check(cmd *cobra.Command) (err error) {
	o := &r.serve
	if r.upstream != "" {
		if o.Upstream, err = parseUpstream(r.upstream); err != nil {
			return err
		}
	}
	switch {
	case o.Upstream == nil && (len(o.AllowPaths) > 0 || o.HealthPath != ""):
		return exitcode.Usage("--allow-path and --health-path go with --upstream; with forward auth, configure exemptions in the gateway")
	case o.Upstream == nil && o.EndRevoked:
		return exitcode.Usage("--end-revoked-streams goes with --upstream; forward auth has no streams")
	case o.DrainTimeout < 0:
		return exitcode.Usage("--drain-timeout must not be negative")
	case o.ShutdownDelay < 0:
		return exitcode.Usage("--shutdown-delay must not be negative; 0s means none")
	}
	for _, other := range []struct{ flag, addr string }{{"listen", o.Listen}, {"admin-listen", o.AdminListen}} {
		if o.GRPCListen != "" && o.GRPCListen == other.addr && !strings.HasSuffix(other.addr, ":0") {
			return exitcode.Usage("--grpc-listen and --%s are the same address; each needs its own", other.flag)
		}
	}
	if err := o.Validate(); err != nil {
		return exitcode.Usage("%w", err)
	}
	return o.check(cmd)
}

// refuseRealmFlags refuses flags that belong in the file of --config instead.
func refuseRealmFlags(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	for _, name := range []string{"name", "key-name"} {
		if changed(name) {
			return exitcode.Usage("--%s does not go with --config: the sources of a realm have its name", name)
		}
	}
	for _, name := range config.RealmKeys() {
		// These two flags also apply to the file itself.
		if name != "poll-interval" && name != "debounce" && changed(name) {
			return exitcode.Usage("--%s does not go with --config: write it into the file as %s, in a realm or for all of them in defaults", name, name)
		}
	}
	return nil
}

// libraryLog logs what libraries write to the standard logger. net/http quotes an
// unexpected answer, which may hold a secret: Write leaves it out.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), " starting with ")
	l.log.Debug("from a library", "text", strings.TrimSpace(text))
	return len(line), nil
}
