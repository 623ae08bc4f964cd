package cli

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/supervise"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// How long a changed token is left to spread before the program gets it: the
// receivers' poll interval and some more; for a Secret that a kubelet mounts the
// kubelets' own period, 60 s and up to half as much again.
const (
	defaultDelay = 15 * time.Second
	mountDelay   = 2 * time.Minute
)

// execFlags are the flags of exec.
type execFlags struct {
	realm                             config.Realm
	env, stopSignal, onChange, signal string
	delay, stopTimeout                time.Duration
	admin, logLevel, logFormat        string
	listeners                         listenFlags
}

func newExec() *cobra.Command { return (&execFlags{realm: config.Defaults()}).command() }

func (e *execFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "exec [flags] -- CMD [ARG...]",
		Annotations: map[string]string{ownSignals: "true"},
		Short:       "Run a program that knows its token from the environment, and restart it with the new one",
		Long: `exec runs CMD with the current token in an environment variable. When the current
token has changed it sends CMD --stop-signal, after --stop-timeout SIGKILL, and
starts it anew once it has ended. A rewrite of the same token, a change of other
slots, or a change that is taken back within the delay restarts nothing.

It waits --restart-delay after a change, so that those that CMD sends to know the
new token first; another change begins the delay anew. A token that was seen
staged (slot next or listed) was known from then on, and the delay counts from
there. When the source revokes the token that CMD has, the delay is over as soon as
there is another; as long as there is none, CMD goes on. The delay is 2m in a volume
that a kubelet mounts, and 15s elsewhere.

CMD gets TERM, INT, QUIT, USR1, USR2, WINCH, ALRM and CONT as exec gets them. After
TERM, INT or the stop signal it is not started again, and exec waits for its end
without killing it; between two runs of CMD exec ends at once, with 128 and the
signal's number. HUP reads the source again and is not forwarded. CMD runs in a
process group of its own, and what is left of that when CMD has ended is killed.
On a terminal it stays in the group of exec, to which the terminal sends INT and
QUIT itself. As process 1 of a container exec reaps orphans, and kills none: what
CMD has put into a session of its own (setsid) outlives a restart, with the old
token. When exec itself is killed (KILL), Linux kills CMD with it, but not what CMD
has started; elsewhere neither.

exec ends when CMD does, and with its exit code: 128 and the number for a signal,
127 where CMD is not found, 126 where it cannot be executed. There is one exception:
CMD that fails within 10 s of a restart by exec is started again, after 1 s, 2 s
and so on up to 1 min, 8 times at most, so that a rotation is no outage. Another
token that is due meanwhile ends the pause, and has 8 times of its own. Where exec
has forwarded TERM, INT, QUIT or the stop signal, CMD's end is what was asked for.

exec is for senders. Never run a receiver with it whose sender is its own daprd: daprd
has the token of its APP_API_TOKEN for as long as it lives, and would be refused by a
receiver that was restarted with the new one alone. A receiver accepts both: by the
library, or behind 'tokenagent run'.

With --on-change signal CMD is sent --signal instead and goes on. Its environment
stays what it was: that is for programs that read the token elsewhere.

The token stands in CMD's environment, which root and CMD's own user can read in
/proc/PID/environ.`,
		Example: `  tokenagent exec --token-file /var/run/secrets/app-api-token --env APP_API_TOKEN -- daprd --app-id orders --app-port 8080
  tokenagent exec --token-file ./token --on-change signal --signal HUP -- nginx -g 'daemon off;'`,
		Args: dashed,
		RunE: e.run,
	}
	e.listeners.addAdmin(cmd)
	f := cmd.Flags()
	config.AddFlags(f, &e.realm, config.Tokens, config.Reading)
	f.Lookup("wait-for-source").Usage = "wait until the source has a token, then start CMD, instead of failing"
	f.StringVar(&e.env, "env", agent.DaprTokenEnv, "`NAME` of the variable in which CMD gets the token")
	f.DurationVar(&e.delay, "restart-delay", -1, "how long to wait after a change before CMD gets the new token, so that receivers have it first; 0s means no wait")
	f.Lookup("restart-delay").DefValue = "15s, or 2m in a volume that a kubelet mounts"
	f.StringVar(&e.stopSignal, "stop-signal", "TERM", "`SIGNAL` that asks CMD to end before it is restarted")
	f.DurationVar(&e.stopTimeout, "stop-timeout", 30*time.Second, "how long CMD may take to end then, before it is killed")
	f.StringVar(&e.onChange, "on-change", "restart", "`WHAT` a change does: restart CMD, or signal it")
	f.StringVar(&e.signal, "signal", "HUP", "`SIGNAL` that tells CMD of a change (with --on-change signal)")
	f.StringVar(&e.admin, "admin-listen", "", "`ADDR` of /metrics, /livez, /readyz and /status, such as 127.0.0.1:9466; empty for none")
	allowEmpty(cmd, "admin-listen")
	f.StringVar(&e.logLevel, "log-level", "info", "minimum `LEVEL` to log: debug, info, warn or error")
	f.StringVar(&e.logFormat, "log-format", "text", "`FORM` of the log on standard error: text or json")
	return cmd
}

// dashed holds arguments to the form "-- CMD ARG...": without the dashes CMD's
// flags would be taken for ours.
func dashed(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.ArgsLenAtDash() != 0 {
		return exitcode.Usage("exec takes the program to run behind --, as in: tokenagent exec --token-file PATH -- CMD ARG")
	}
	return nil
}

func (e *execFlags) run(cmd *cobra.Command, args []string) (err error) {
	ctx := cmd.Context()
	signals, hangup, stop := supervise.Catch(ctx) // first of all: by default they would end the process
	defer stop()
	log, err := newLogger(cmd.ErrOrStderr(), e.logLevel, e.logFormat)
	if err != nil {
		return err
	}
	protect(log)
	cfg, err := e.agent(cmd, log)
	if err != nil {
		return err
	}
	o, err := e.options(args, cfg, log)
	if err != nil {
		return err
	}
	port := daemon.Options{AdminListen: e.admin, Poll: cfg.Poll, Debounce: cfg.Debounce, Logger: log}
	if err := e.listeners.config(cmd, &port); err != nil {
		return err
	}
	// CMD gets the source's token under this name, so nobody reads what is there now.
	_ = os.Unsetenv(e.env) // supervise.New says what is wrong with the name
	a, err := startAgent(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return exitcode.With(128+int(told(signals)), nil) // before it began
		}
		return err
	}
	defer a.Close()
	s, err := supervise.New(a, o)
	if err != nil {
		return err
	}
	reloaders := []daemon.Reloader{a}
	if e.admin != "" {
		// Its own end is the program's, not that of ctx, which a signal ends.
		certs, stop, err := daemon.ServeAdmin(context.WithoutCancel(ctx), a, port, s)
		if err != nil {
			return err
		}
		defer stop()
		reloaders = append(reloaders, certs)
	}
	unhang := daemon.OnHangup(hangup, log, reloaders...)
	defer func() { go unhang() }() // a read that hangs must not keep exec from ending with CMD's code
	return s.Run(signals)
}

// told returns the signal that ended the command.
func told(signals <-chan os.Signal) syscall.Signal {
	for sig := range signals {
		if sig == syscall.SIGTERM || sig == os.Interrupt {
			n, _ := sig.(syscall.Signal)
			return n
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
			return cfg, exitcode.Usage(agent.DaprTokenEnv + "_FILE is set and empty; give it the path of the token file, or give --token-file")
		}
		// The variable beside it is the one that CMD gets, and no second source.
		cfg.TokenFile = path
	}
	// Nothing is verified here, so nothing superseded needs to be remembered.
	cfg.Overlap = -1
	return cfg, nil
}

// options returns what to run, and how, with the source that cfg names.
func (e *execFlags) options(args []string, cfg agent.Config, log *slog.Logger) (supervise.Options, error) {
	o := supervise.Options{
		Command: args, Env: e.env, Environ: os.Environ(),
		Delay: e.delay, StopTimeout: e.stopTimeout, Wait: cfg.WaitForSource, Logger: log,
	}
	if e.delay == -1 {
		o.Delay = defaultDelay
		if kubemount.Managed(cfg.TokenFile + cfg.EnvFile) { // one of them is empty
			o.Delay = mountDelay
		}
	}
	var ok bool
	if o.StopSignal, ok = supervise.ParseSignal(e.stopSignal); !ok {
		return o, exitcode.Usage("--stop-signal must be the name of a signal, such as TERM, INT or QUIT")
	}
	switch e.onChange {
	case "restart":
	case "signal":
		if o.ChangeSignal, ok = supervise.ParseSignal(e.signal); !ok {
			return o, exitcode.Usage("--signal must be the name of a signal, such as HUP or USR1")
		}
	default:
		return o, exitcode.Usage("--on-change must be restart or signal")
	}
	if err := o.Validate(); err != nil {
		return o, exitcode.Usage("%w", err)
	}
	return o, nil
}
