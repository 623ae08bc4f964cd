package cli

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/server"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/supervise"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// The default of --restart-delay is longer than receivers take to read a changed token:
// their poll interval or, in a volume that a kubelet mounts, the kubelet's sync period of
// 60 s and up to half of that again.
const (
	defaultDelay = 15 * time.Second
	mountDelay   = 2 * time.Minute
)

// execFlags are the flags of exec.
type execFlags struct {
	realm                        config.Realm
	run                          supervise.Options
	stopSignal, onChange, signal string
	admin                        listenFlags
	log                          logFlags
}

func newExec() *cobra.Command { return (&execFlags{realm: config.Defaults()}).command() }

func (e *execFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "exec [flags] -- CMD [ARG...]",
		Annotations: map[string]string{ownSignals: "true"},
		Short:       "Run a program that knows its token from the environment, and restart it with the new one",
		Long: `exec runs CMD with the current token in an environment variable. When the token
changes, exec waits --restart-delay so that receivers know the new token first, stops
CMD with --stop-signal (after --stop-timeout with SIGKILL), and starts it again.

CMD gets the signals that exec gets, except HUP, which reads the source again. exec
ends with CMD and with its exit code: 128 and the number for a signal, 127 if CMD is
not found, 126 if it cannot be executed. docs/rotation.md describes restarts.

exec is for senders. Do not run an app with it whose own daprd sends the token: daprd
keeps its APP_API_TOKEN for life, and the restarted app would refuse it.

Root and CMD's own user can read the token in /proc/PID/environ.`,
		Example: `  tokenagent exec --token-file /var/run/secrets/app-api-token --env APP_API_TOKEN -- daprd --app-id orders --app-port 8080`,
		Args:    requireDashes,
		RunE:    e.execute,
	}
	addRealmFlags(cmd, &e.realm, config.Tokens, config.Reading)
	f := cmd.Flags()
	f.Lookup("wait-for-source").Usage = "wait until the source has a token, then start CMD, instead of failing"
	f.StringVar(&e.run.Env, "env", agent.DaprTokenEnv, "`NAME` of the variable in which CMD gets the token")
	f.DurationVar(&e.run.Delay, "restart-delay", -1, "`DURATION` to wait after a change, so that receivers know the new token first; 0s for none")
	f.Lookup("restart-delay").DefValue = "15s, or 2m in a volume that a kubelet mounts"
	f.StringVar(&e.stopSignal, "stop-signal", "TERM", "`SIGNAL` that asks CMD to end before a restart")
	f.DurationVar(&e.run.StopTimeout, "stop-timeout", 30*time.Second, "`DURATION` after which CMD is killed if it has not ended")
	choice.Add(f, &e.onChange, "on-change", "`ACTION` after a change: restart CMD, or signal it and let it run with the old variable", "restart", "signal")
	f.StringVar(&e.signal, "signal", "HUP", "`SIGNAL` that tells CMD of a change, with --on-change signal")
	config.SetTopic(f, "Program")
	f.StringVar(&e.admin.AdminListen, "admin-listen", "", "`ADDR` of /metrics, /livez, /readyz and /status, such as 127.0.0.1:9466; empty for none")
	config.SetTopic(f, "Listeners")
	e.admin.addAccessFlags(f)
	e.log.add(f)
	allowEmpty(f, "admin-listen")
	return cmd
}

// requireDashes requires the form "-- CMD ARG...": without the dashes, CMD's flags would
// be read as flags of exec.
func requireDashes(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.ArgsLenAtDash() != 0 {
		return exitcode.Usage("exec takes the program to run after --, as in: tokenagent exec --token-file PATH -- CMD ARG")
	}
	return nil
}

func (e *execFlags) execute(cmd *cobra.Command, args []string) (err error) {
	ctx := cmd.Context()
	signals, hangup, stop := supervise.Catch(ctx) // first, because by default a signal ends the process
	defer stop()
	log := e.log.logger(cmd.ErrOrStderr())
	protectMemory(log)
	cfg, err := e.agent(cmd, log)
	if err != nil {
		return err
	}
	options, err := e.options(args, cfg, log)
	if err != nil {
		return err
	}
	if err := e.admin.check(cmd); err != nil {
		return err
	}
	// CMD gets the token in this variable. Unset it here, so that the agent does not take
	// it for a second source.
	_ = os.Unsetenv(options.Env) // supervise.New reports an invalid name
	a, err := startAgent(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return exitcode.With(128+int(endedBy(signals)), nil) // before CMD was started
		}
		return err
	}
	defer a.Close()
	s, err := supervise.New(a, options)
	if err != nil {
		return err
	}
	reloaders := []server.Reloader{a}
	if port := e.admin.Options; port.AdminListen != "" {
		port.Poll, port.Debounce, port.Logger = cfg.Poll, cfg.Debounce, log
		// The admin port ends when the program does, not when a signal ends ctx.
		certs, stop, err := server.ServeAdmin(context.WithoutCancel(ctx), a, port, s)
		if err != nil {
			return err
		}
		defer stop()
		reloaders = append(reloaders, certs...)
	}
	stopHangup := server.OnHangup(hangup, log, reloaders...)
	defer func() { go stopHangup() }() // exec must end with CMD even if a read hangs
	return s.Run(signals)
}

// endedBy returns the signal that ended the command.
func endedBy(signals <-chan os.Signal) syscall.Signal {
	for sig := range signals {
		if sig == os.Interrupt || sig == syscall.SIGTERM {
			return sig.(syscall.Signal)
		}
	}
	return syscall.SIGTERM
}

// agent returns the configuration of the agent that watches the source.
func (e *execFlags) agent(cmd *cobra.Command, log *slog.Logger) (agent.Config, error) {
	cfg, err := agentConfig(cmd, &e.realm, config.Run, log)
	if err != nil {
		return cfg, err
	}
	if cfg.TokenFile == "" && cfg.EnvFile == "" {
		path, ok := os.LookupEnv(agent.DaprTokenEnv + "_FILE")
		if cfg.TokenEnv != "" || !ok {
			return cfg, exitcode.Usage("--token-file or --env-file is missing; an environment variable as the source could never change")
		}
		if path == "" {
			return cfg, exitcode.Usage(agent.DaprTokenEnv + "_FILE is empty; give it the path of the token file, or give --token-file")
		}
		cfg.TokenFile = path
	}
	cfg.Overlap = -1 // nothing is verified here
	return cfg, nil
}

// options returns how to run the program args with the source of cfg.
func (e *execFlags) options(args []string, cfg agent.Config, log *slog.Logger) (supervise.Options, error) {
	o := e.run
	o.Command, o.Wait, o.Logger = args, cfg.WaitForSource, log
	switch {
	case o.Delay != -1:
	case kubemount.Managed(cfg.TokenFile + cfg.EnvFile): // one of them is empty
		o.Delay = mountDelay
	default:
		o.Delay = defaultDelay
	}
	var ok bool
	if o.StopSignal, ok = supervise.ParseSignal(e.stopSignal); !ok {
		return o, exitcode.Usage("--stop-signal must be the name of a signal, such as TERM, INT or QUIT")
	}
	if e.onChange == "signal" {
		if o.ChangeSignal, ok = supervise.ParseSignal(e.signal); !ok {
			return o, exitcode.Usage("--signal must be the name of a signal, such as HUP or USR1")
		}
	}
	if err := o.Validate(); err != nil {
		return o, exitcode.Usage("%w", err)
	}
	return o, nil
}
