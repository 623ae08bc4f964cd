package rotate

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// adminPort is the port of an agent's --admin-listen by default.
const adminPort = 9464

// wholeFlags are the flags of run and abort beside those of the steps.
type wholeFlags struct {
	secrets, namespaces     []string
	selector                string
	allNamespaces, distinct bool
	kubectl                 kube.KubectlOptions
	services, restart       []string
	stageWait               time.Duration
	minAge, timeout         time.Duration
	ignoreOwner             bool
}

func runCommand() *cobra.Command {
	cmd, r, w := wholeCommand("run", (*request).addRun)
	cmd.Short = "Run a whole rotation: stage, promote, restart the senders and retire, with the waits in between"
	cmd.Long = `run stages a new token, waits until every receiver has it, promotes it, restarts the
senders, waits until nobody uses the old token, and retires that. The source is at PATH, or
Secrets of a Kubernetes cluster: --secret, or --selector with --namespace or
--all-namespaces. In a pod, run uses the pod's service account, and elsewhere kubectl.

Receivers are the pods behind --agents, and those at --agent: all of them must report
the new token before it is promoted, and no use of the old one before that is retired.
Without either, run waits for --stage-wait, and for the end of --overlap. Senders that
read their token only once, such as daprd, are restarted: --restart deployment/NAME.

The annotation tokenagent.dev/rotation says in each Secret how far the rotation is. If run
is killed, start it again: it goes on, and makes no second token. Two at the same time
work on the same rotation. A failure leaves both tokens accepted; rotate abort undoes
what can be undone. Before the first write, run checks that it may write everything, and
that no tool (Argo CD, Flux, Helm, External Secrets) would undo it.`
	cmd.Example = `  tokenagent rotate run --secret app/token --agents app/receivers --restart deployment/app
  tokenagent rotate run --selector tokenagent/group=app --all-namespaces --agents receivers --restart deployment/app
  tokenagent rotate run --overlap 10m /etc/app/token`
	f := cmd.Flags()
	f.StringSliceVar(&w.services, "agents", nil, "`[NAMESPACE/]SERVICE[:PORT]` whose pods are receivers, with their admin port (default 9464); without NAMESPACE in the namespace of each Secret; repeatable")
	f.StringSliceVar(&w.restart, "restart", nil, "`[NAMESPACE/]KIND/NAME` of a deployment, statefulset or daemonset to restart after the promotion; without NAMESPACE in the namespace of each Secret; repeatable")
	f.DurationVar(&w.stageWait, "stage-wait", 2*time.Minute, "how long receivers need for a staged token, if no agents are named; a mounted Secret takes up to 90 s")
	f.DurationVar(&w.minAge, "min-age", time.Hour, "do nothing if the last rotation of a Secret ended less long ago, so that a repeated run does not rotate twice; 0s rotates all the same")
	f.DurationVar(&w.timeout, "timeout", time.Hour, "how long receivers, rollouts or the API server may take, before run stops with both tokens accepted")
	f.BoolVar(&w.ignoreOwner, "ignore-owner", false, "rotate although another tool owns a Secret and may put the old token back")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.whole(cmd, w, (*auto.Runner).Run)
	}
	return cmd
}

func abortCommand() *cobra.Command {
	cmd, r, w := wholeCommand("abort", (*request).addAbort)
	cmd.Short = "Undo a rotation that was begun, as far as that can be undone"
	cmd.Long = `abort takes a staged token out again. After the promotion it makes the old token current
again, and the new one previous, until --overlap is over: receivers accept both all the
time. Senders that have the new token by then go on with it; rotate run restarts them
and retires it. Once the old token is retired, or its deadline has passed, nothing can be
undone: let run finish, or stage the old token with rotate stage --from.`
	cmd.Example = `  tokenagent rotate abort --secret app/token`
	cmd.Flags().DurationVar(&w.timeout, "timeout", time.Minute, "how long to try again while requests fail or others change a Secret; 0s tries once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.whole(cmd, w, (*auto.Runner).Abort)
	}
	return cmd
}

func wholeCommand(name string, flags func(*request, *pflag.FlagSet)) (*cobra.Command, *request, *wholeFlags) {
	c := command{name: name, flags: flags}
	r := &request{command: c, options: options{slot: slotPrevious}, overlap: unset, idle: unset}
	w := &wholeFlags{}
	cmd := &cobra.Command{Use: name + " [PATH]", Args: func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exitcode.Usage("%s takes one PATH", name)
		}
		r.path = strings.Join(args, "")
		return nil
	}}
	r.addFlags(cmd.Flags())
	f := cmd.Flags()
	f.Lookup("output").Usage = "`FORM` of the progress: text or json, one object a line"
	f.Lookup("dry-run").Usage = "check everything that is checked before the first write, and write nothing"
	f.StringSliceVar(&w.secrets, "secret", nil, "`NAMESPACE/NAME` of a Secret to rotate; repeatable")
	f.StringVar(&w.selector, "selector", "", "`LABELS` of the Secrets to rotate, as for kubectl; with --namespace or --all-namespaces")
	f.StringSliceVar(&w.namespaces, "namespace", nil, "`NAMESPACE` in which --selector looks; repeatable")
	f.BoolVar(&w.allNamespaces, "all-namespaces", false, "let --selector look in all namespaces")
	f.BoolVar(&w.distinct, "distinct", false, "give each Secret a token of its own, instead of all the same")
	f.StringVar(&w.kubectl.Kubeconfig, "kubeconfig", "", "`PATH` of the file that kubectl logs in with; uses kubectl in a pod, too")
	f.StringVar(&w.kubectl.Context, "context", "", "`NAME` of the kubectl context; uses kubectl in a pod, too")
	return cmd, r, w
}

func (r *request) addRun(f *pflag.FlagSet) {
	r.addFrom(f, "rotate to the token or verification key")
	f.StringVar(&r.privateOut, "private-out", "", "make a key pair, and put the private key into a new `FILE` (mode 0600) and nowhere else")
	r.addWholeOverlap(f)
	f.StringSliceVar(&r.Agents, "agent", nil, "`URL` of the admin port of a receiver's agent: http://host:port, https://host:port or unix:///path; repeat it for each agent")
	f.StringVar(&r.Source, "source", "", "`NAME` of the source to ask the agents about (default: any)")
	r.secure.Add(f)
	f.DurationVar(&r.idle, "idle", unset, "how long no agent must have seen the old one, before it is retired")
	f.Lookup("idle").DefValue = "15m, or half of the overlap where that is less"
}

func (r *request) addAbort(f *pflag.FlagSet) { r.addWholeOverlap(f) }

func (r *request) addWholeOverlap(f *pflag.FlagSet) {
	f.DurationVar(&r.overlap, "overlap", unset, "how long the old one stays accepted at most; run extends that while senders restart; must be given for verification keys")
	f.Lookup("overlap").DefValue = wholeOverlap.String()
}

// whole checks the flags and does a whole rotation, or aborts one.
func (r *request) whole(cmd *cobra.Command, w *wholeFlags, do func(*auto.Runner, context.Context) error) error {
	ctx := cmd.Context()
	r.changed, r.stdin, r.stdout, r.stderr = cmd.Flags().Changed, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := w.check(r.path != ""); err != nil {
		return err
	}
	if err := r.checkFlags(ctx); err != nil {
		return err
	}
	settings := auto.Settings{
		HasReceivers: len(r.Agents)+len(w.services) > 0, HasSenders: len(w.restart) > 0,
		StageWait: w.stageWait, MinAge: w.minAge, Timeout: w.timeout, Overlap: r.overlap,
	}
	if r.overlap == unset {
		settings.Overlap = wholeOverlap
	}
	if err := w.checkOverlap(settings); err != nil {
		return err
	}
	steps := &whole{request: r}
	o := auto.Options{
		Settings: settings,
		Distinct: w.distinct, AllNamespaces: w.allNamespaces, IgnoreOwner: w.ignoreOwner, DryRun: r.dryRun,
		Gate: r.Gate, Idle: r.idle, Step: steps.step, BeforeStage: steps.savePrivate, Progress: r.progress(),
	}
	if err := w.into(ctx, &o, r); err != nil {
		return err
	}
	return do(auto.New(o), ctx)
}

// check refuses flags that do not go together.
func (w *wholeFlags) check(hasPath bool) error {
	inCluster := len(w.secrets) > 0 || w.selector != ""
	switch {
	case hasPath && inCluster:
		return exitcode.Usage("PATH goes without --secret and --selector; rotate one of them at a time")
	case !hasPath && !inCluster:
		return exitcode.Usage("say what to rotate: --secret NAMESPACE/NAME, --selector LABELS, or PATH")
	case hasPath && len(w.services)+len(w.restart) > 0:
		return exitcode.Usage("--agents and --restart go with --secret or --selector; with PATH, name the agents with --agent")
	case hasPath && w.distinct:
		return exitcode.Usage("--distinct goes with several Secrets")
	case w.selector != "" && w.allNamespaces == (len(w.namespaces) > 0):
		return exitcode.Usage("--selector needs either --namespace or --all-namespaces")
	case w.selector == "" && (w.allNamespaces || len(w.namespaces) > 0):
		return exitcode.Usage("--namespace and --all-namespaces go with --selector; --secret has its namespace before the slash")
	case w.stageWait < 0 || w.minAge < 0 || w.timeout < 0:
		return exitcode.Usage("--stage-wait, --min-age and --timeout must not be negative")
	}
	return nil
}

// checkOverlap refuses an overlap that ends before the senders have the new token. While they
// restart, run extends it; receivers must have the later deadline in time.
func (w *wholeFlags) checkOverlap(s auto.Settings) error {
	switch least := s.LeastOverlap(); {
	case s.Overlap == 0:
		return exitcode.Usage("--overlap 0s would refuse every sender at the promotion; leave it out, or give the time that senders need for the new token")
	case s.HasSenders && s.Overlap < least:
		return exitcode.Usage("--overlap %s is less than %s, twice what receivers may need for a change (--stage-wait, 3m at least), so senders could be refused while they restart; make it longer", s.Overlap, least)
	}
	return nil
}

// into puts what is in a cluster into o, or the path.
func (w *wholeFlags) into(ctx context.Context, o *auto.Options, r *request) (err error) {
	if r.path != "" {
		o.Path = &auto.Path{Name: r.path, Read: r.read}
		return nil
	}
	if w.distinct && len(r.Agents) > 0 {
		return exitcode.Usage("--agent cannot say to which Secret it belongs; with --distinct, name the receivers with --agents SERVICE")
	}
	secrets := &auto.Secrets{Selector: w.selector, Namespaces: w.namespaces, Read: r.read}
	for _, text := range w.secrets {
		namespace, name, ok := strings.Cut(text, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return exitcode.Usage("--secret must be NAMESPACE/NAME")
		}
		secrets.Named = append(secrets.Named, auto.SecretName{Namespace: namespace, Name: name})
	}
	for _, text := range w.services {
		s, ok := parseService(text)
		if !ok {
			return exitcode.Usage("--agents must be [NAMESPACE/]SERVICE[:PORT]")
		}
		o.Services = append(o.Services, s)
	}
	for _, text := range w.restart {
		s, ok := parseSender(text)
		if !ok {
			return exitcode.Usage("--restart must be [NAMESPACE/]KIND/NAME, with the kind deployment, statefulset or daemonset")
		}
		o.Senders = append(o.Senders, s)
	}
	if w.kubectl.Kubeconfig == "" && w.kubectl.Context == "" && kube.IsInCluster() {
		secrets.Client, err = kube.InCluster()
	} else {
		secrets.Client, err = kube.Kubectl(ctx, w.kubectl)
	}
	o.Secrets, o.Client = secrets, secrets.Client
	return err
}

// parseService parses [NAMESPACE/]SERVICE[:PORT].
func parseService(text string) (s auto.Service, ok bool) {
	s.Port = adminPort
	if name, port, has := strings.Cut(text, ":"); has {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return s, false
		}
		text, s.Port = name, int(n)
	}
	if namespace, name, has := strings.Cut(text, "/"); has {
		s.Namespace, s.Name = namespace, name
		return s, namespace != "" && name != "" && !strings.Contains(name, "/")
	}
	s.Name = text
	return s, text != ""
}

// parseSender parses [NAMESPACE/]KIND/NAME.
func parseSender(text string) (s auto.Sender, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 && parts[0] != "" {
		s.Namespace, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 || parts[1] == "" {
		return s, false
	}
	kinds := map[string]string{
		"deployment": kube.Deployment, "deploy": kube.Deployment, "statefulset": kube.StatefulSet, "sts": kube.StatefulSet, "daemonset": kube.DaemonSet, "ds": kube.DaemonSet,
	}
	s.Kind, s.Name = kinds[parts[0]], parts[1]
	return s, s.Kind != ""
}
