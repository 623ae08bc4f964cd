package plan

import (
	"time"

	"github.com/spf13/pflag"
)

// maxCrowd bounds receivers, senders and newcomers.
const maxCrowd = 100_000

// flags are the flags of plan.
type flags struct {
	protocol                       string
	replicas                       int // 0 where it is not given
	receivers, senders, newcomers  int
	delivery                       string
	kubeletSync, cacheTTL          time.Duration
	detection                      string
	watch                          string
	poll, debounce                 time.Duration
	sender, senderRestart          string
	restartDelay, inFlight, skew   time.Duration
	rate, risk                     float64
	stageWait, overlap, maxOverlap time.Duration
	sliding                        bool
	rotations                      int
	seed                           uint64
	output                         string

	changed func(name string) bool
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&f.protocol, "protocol", string(staged), "`NAME` of the rotation method: staged, now or replace")
	fs.IntVar(&f.replicas, "replicas", 0, "how many both check and send tokens, as each pod of Dapr does; in the place of --receivers and --senders")
	fs.IntVar(&f.receivers, "receivers", 3, "how many check tokens, 100000 at most")
	fs.IntVar(&f.senders, "senders", 3, "how many send tokens, 100000 at most")
	fs.IntVar(&f.newcomers, "newcomers", 1, "how many more senders start by chance just after the change: a crash, a scale-up")
	fs.StringVar(&f.delivery, "delivery", "fixed:0s", "`DIST` of the time until a written change reaches the cluster, or the file on each machine")
	fs.DurationVar(&f.kubeletSync, "kubelet-sync", time.Minute, "the kubelet's syncFrequency; 0s means that there is a file and no kubelet")
	fs.StringVar(&f.detection, "detection", "watch", "`STRATEGY` of the kubelet's configMapAndSecretChangeDetectionStrategy: watch, cache or get")
	fs.DurationVar(&f.cacheTTL, "cache-ttl", time.Minute, "the kubelet's cache TTL with --detection cache; the node's annotation node.alpha.kubernetes.io/ttl says it")
	fs.StringVar(&f.watch, "watch", "poll", "watch `MODE` to assume for the agents: poll, or events if watch_mode is events on every agent")
	fs.DurationVar(&f.poll, "poll-interval", 10*time.Second, "the agents' --poll-interval")
	fs.DurationVar(&f.debounce, "debounce", time.Second, "the agents' --debounce")
	fs.StringVar(&f.sender, "sender", string(restart), "`KIND` of senders: restart, exec or transport")
	fs.StringVar(&f.senderRestart, "sender-restart", "", "`DIST` of the time until a sender has restarted, counted from the change, or with --sender exec from the end of --restart-delay (default uniform:0s..10m, with exec uniform:0s..10s)")
	fs.DurationVar(&f.restartDelay, "restart-delay", 0, "the --restart-delay of tokenagent exec (default 15s, with a kubelet 2m)")
	fs.DurationVar(&f.inFlight, "in-flight", 5*time.Second, "how long after its change-over a sender's last request with the old token may arrive")
	fs.DurationVar(&f.skew, "clock-skew", time.Second, "the largest difference between any two clocks")
	fs.Float64Var(&f.rate, "request-rate", 1, "requests a second of each sender, to receivers chosen at random")
	fs.DurationVar(&f.stageWait, "stage-wait", 0, "the time between stage and promote to judge (default: the shortest safe one)")
	fs.DurationVar(&f.overlap, "overlap", 0, "the overlap to judge (default: the shortest safe one)")
	fs.BoolVar(&f.sliding, "sliding", false, "with --protocol replace: the overlap of the agents slides, as it does by default, up to their --max-overlap")
	fs.DurationVar(&f.maxOverlap, "max-overlap", 0, "with --sliding: the cap to judge (default: the shortest safe one)")
	fs.Float64Var(&f.risk, "risk", 1e-6, "if no wait is safe, plan for this probability that a rotation refuses any request")
	fs.IntVar(&f.rotations, "rotations", 0, "how many rotations to simulate, 100000 at most; 0 means as many as take some seconds")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the simulation; the same seed gives the same result")
	fs.StringVar(&f.output, "output", "text", "`FORM` of the answer: text or json")
}

// model makes the model that the flags describe, or says what is wrong with
// them. read reads a file of samples.
func (f *flags) model(read func(string) ([]byte, error)) (*model, error) {
	for _, err := range []error{f.checkChoices(), f.checkCombinations(), f.spreadReplicas(), f.checkNumbers(), f.checkDurations()} {
		if err != nil {
			return nil, err
		}
	}
	m := &model{
		protocol:  protocol(f.protocol),
		receivers: f.receivers,
		senders:   f.senders,
		newcomers: f.newcomers,
		sender:    sender(f.sender),
		inFlight:  f.inFlight.Seconds(),
		skew:      f.skew.Seconds(),
		rate:      f.rate,
		sliding:   f.sliding,
	}
	m.reach = propagation{sync: f.kubeletSync.Seconds()}
	if f.detection == "cache" && f.kubeletSync > 0 {
		m.reach.ttl = f.cacheTTL.Seconds()
	}
	if f.watch == "poll" {
		m.reach.poll = f.poll.Seconds()
	}
	if f.watch == "poll" || f.kubeletSync == 0 {
		m.reach.debounce = f.debounce.Seconds() // a kubelet's swap is believed at once
	}
	if m.sender == execed {
		m.delay = f.execDelay().Seconds()
	}
	var err error
	if m.reach.delivery, err = parseDist("delivery", f.delivery, read); err != nil {
		return nil, err
	}
	if m.sender != transport {
		m.restart, err = parseDist("sender-restart", f.restarts(), read)
	}
	return m, err
}

// execDelay returns the restart delay of tokenagent exec: 15 s, and 2 min where
// the source is a kubelet's mount, unless it is given.
func (f *flags) execDelay() time.Duration {
	switch {
	case f.changed("restart-delay") || f.restartDelay > 0:
		return f.restartDelay
	case f.kubeletSync > 0:
		return 2 * time.Minute
	default:
		return 15 * time.Second
	}
}

func (f *flags) restarts() string {
	switch {
	case f.senderRestart != "" || f.changed("sender-restart"):
		return f.senderRestart
	case f.sender == string(execed):
		return "uniform:0s..10s"
	default:
		return "uniform:0s..10m"
	}
}
