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
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
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
		Short:       "Verify tokens for another program, as forward-auth or as a reverse proxy",
		Long: `run watches its sources and answers on --listen. It accepts shared tokens, of
--token-file, --env-file or --token-env; JSON Web Tokens that a key of --key-file
or --jwks-url signed, with the iss and an aud that --issuer and --audience give;
or both.

Without --upstream it is a forward-auth endpoint, for nginx auth_request, Traefik
ForwardAuth, Caddy forward_auth and Envoy ext_authz over HTTP: any method and path
is answered 200 or 401, and 503 until the source is loaded. --grpc-listen answers
Envoy ext_authz over gRPC by the same rules, and grpc.health.v1.Health.

With --upstream it is a reverse proxy for HTTP/1.1 and h2c (gRPC): a request with an
accepted token goes on without the token. WebSocket upgrades pass, with a token;
others do not, since nobody would check tokens in them.

SIGHUP reads the source again. SIGTERM drains and exits 0. With --shutdown-delay,
new connections are first taken for that long, while /readyz says 503; a second
SIGTERM or SIGINT ends the delay.`,
		Example: `  tokenagent run --token-file /var/run/secrets/app-api-token --listen 127.0.0.1:9465
  tokenagent run --token-file ./token --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000 --health-path /healthz
  tokenagent run --token-file /var/run/secrets/app-api-token --grpc-listen unix:///run/tokenagent/authz.sock
  tokenagent run --jwks-url https://issuer.example/jwks.json --issuer https://issuer.example --audience orders --wait-for-source`,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&r.configFile, "config", "", "`FILE` of realms, instead of one source")
	f.StringVar(&r.realm.Source.Name, "name", r.realm.Source.Name, "`NAME` of the token source in metrics and logs, and the subject of its callers")
	addRealmFlags(cmd, &r.realm, config.Tokens, config.Reading, config.Signed, config.Overlap, config.Request)
	o := &r.serve
	f.StringVar(&o.Listen, "listen", "127.0.0.1:9465", "`ADDR` of forward-auth or proxy: host:port or unix:///path")
	f.StringVar(&o.GRPCListen, "grpc-listen", "", "`ADDR` of Envoy ext_authz over gRPC and of grpc health; empty for none")
	f.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:9464", "`ADDR` of /metrics, /livez, /readyz and /status; empty for none")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay", 0, "`DURATION` after SIGTERM for which connections are still accepted while /readyz answers 503")
	f.DurationVar(&o.DrainTimeout, "drain-timeout", 20*time.Second, "`DURATION` that requests may then take to end")
	config.SetTopic(f, "Listeners")
	f.StringVar(&r.upstream, "upstream", "", "`URL` of the app behind the proxy: http, https, h2c, unix or h2c+unix, without a path on a host")
	f.StringArrayVar(&o.AllowPaths, "allow-path", nil, "`[METHOD ]/path` that needs no token, exact; repeatable")
	f.StringVar(&o.HealthPath, "health-path", "", "`PATH` of the app's health check, without a token; 503 until the source is loaded")
	f.BoolVar(&o.EndRevoked, "end-revoked-streams", false, "end requests, streams and WebSockets when their token is revoked")
	config.SetTopic(f, "Proxy")
	addTLSFlags(f, "", &o.TLS, "--listen and --grpc-listen")
	o.addAdminAccess(f)
	r.log.add(f)
	allowEmpty(cmd, "grpc-listen")
	allowEmpty(cmd, "admin-listen")
	return cmd
}

func (r *runFlags) run(cmd *cobra.Command) error {
	// First of all: by default the signal would end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log := r.log.logger(cmd.ErrOrStderr())
	protect(log)
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraryLog{log})
	if r.configFile != "" {
		if err := realmsAlone(cmd); err != nil {
			return err
		}
		fileOnly := config.Defaults() // the realms of the file take no variables either
		fileOnly.Rotation.Poll, fileOnly.Rotation.Debounce = r.realm.Rotation.Poll, r.realm.Rotation.Debounce
		r.realm = fileOnly
	}
	o := &r.serve.Options
	o.Headers, o.Logger, o.Hangup = r.realm.Headers, log, hangup
	if err := r.check(cmd); err != nil {
		return err
	}
	cfg, err := agentConfig(cmd, &r.realm, config.Run, log)
	if err != nil {
		return err
	}
	o.Poll, o.Debounce = cfg.Poll, cfg.Debounce // certificates and the file of realms are watched as sources are
	realms, closeAll, err := r.open(cmd.Context(), cfg)
	if err != nil {
		if cmd.Context().Err() != nil && exitcode.Of(err) != 2 {
			return nil // it was told to end before it began
		}
		return err
	}
	defer func() { _ = closeAll() }()
	return daemon.Run(cmd.Context(), realms, *o)
}

// open starts the agents of --config, or the one of cfg.
func (r *runFlags) open(ctx context.Context, cfg agent.Config) (realms *realm.Set, closeAll func() error, err error) {
	o := &r.serve
	options := realm.Options{Auth: o.Auth(), Logger: o.Logger, Poll: o.Poll, Debounce: o.Debounce}
	if r.configFile != "" {
		realms, err = realm.Open(ctx, r.configFile, realmParser(r.configFile, o.Logger), options)
		return realms, realms.Close, err
	}
	a, err := startAgent(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return realm.Single(a, o.Headers, options), a.Close, nil
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
		return exitcode.Usage("--allow-path and --health-path go with --upstream; a gateway that asks forward-auth has its own exemptions")
	case o.Upstream == nil && o.EndRevoked:
		return exitcode.Usage("--end-revoked-streams goes with --upstream; forward-auth holds no stream")
	case o.DrainTimeout < 0:
		return exitcode.Usage("--drain-timeout must not be negative")
	case o.ShutdownDelay < 0:
		return exitcode.Usage("--shutdown-delay must not be negative; 0s means that new connections are refused at once")
	}
	for flag, addr := range map[string]string{"listen": o.Listen, "admin-listen": o.AdminListen} {
		if o.GRPCListen != "" && o.GRPCListen == addr && !strings.HasSuffix(addr, ":0") {
			return exitcode.Usage("--grpc-listen and --%s are the same address; each needs its own", flag)
		}
	}
	if err := o.Validate(); err != nil {
		return exitcode.Usage("%w", err)
	}
	return o.check(cmd)
}

// realmParser returns the parser of the file of realms at path.
func realmParser(path string, log *slog.Logger) func(reload.Content) (*realm.Plan, error) {
	return func(c reload.Content) (*realm.Plan, error) { return config.ParseFile(path, c.Data, log) }
}

// realmsAlone refuses flags that must be in the file of --config instead.
func realmsAlone(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	for _, name := range []string{"name", "key-name"} {
		if changed(name) {
			return exitcode.Usage("--%s does not go with --config: a realm's sources are called as the realm is", name)
		}
	}
	for _, name := range config.RealmKeys() {
		// These two also say how the file itself is read.
		if name != "poll-interval" && name != "debounce" && changed(name) {
			return exitcode.Usage("--%s does not go with --config: write it into the file as %s, in a realm or for all of them in defaults", name, name)
		}
	}
	return nil
}

// libraryLog takes what libraries write to the standard logger. net/http quotes an
// answer that nobody asked for, which is left out.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), " starting with ")
	l.log.Debug("from a library", "text", strings.TrimSpace(text))
	return len(line), nil
}
