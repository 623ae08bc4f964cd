package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	"github.com/spf13/viper"
	grpcauthz "google.golang.org/grpc/authz"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/bench/internal/peers"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// token returns the file of the Kinds that watch a token.
func token(i int) ([]File, error) { return []File{{"token", []byte(work.Token(i) + "\n")}}, nil }

func tokenagent() Kind {
	return Kind{Name: "tokenagent", Files: token, Start: func(ctx context.Context, dir string) (Watch, error) {
		a, err := startAgent(ctx, dir)
		if err != nil {
			return nil, err
		}
		return watch{
			func(i int) func() bool {
				want := work.Token(i)
				return func() bool { t, err := a.Token(); return err == nil && t == want }
			},
			a.Close,
		}, nil
	}}
}

// TwoTokens starts an agent with two tokens. Each flip replaces the second one. The
// agent reads only when the caller calls Reload, because its own events and polls would
// not reach 1,000 reloads per second. The caller closes the agent.
func TwoTokens(ctx context.Context, dir string) (*Flip, *agent.Agent, error) {
	files := func(i int) ([]File, error) {
		return []File{{"token", []byte(work.Token(0) + "\n" + work.Token(1+i) + "\n")}}, nil
	}
	some, err := files(0)
	if err != nil {
		return nil, nil, err
	}
	if err := Kubelet().Set(dir, some); err != nil {
		return nil, nil, err
	}
	f, err := NewFlip(dir, files)
	if err != nil {
		return nil, nil, err
	}
	a, err := agent.Start(ctx, agent.Config{
		TokenFile: filepath.Join(dir, "token"), Debounce: -1, Poll: time.Minute, PollOnly: true, Logger: slog.New(slog.DiscardHandler),
	})
	return f, a, err
}

// startAgent starts an agent with an overlap of a millisecond. Real rotations are days
// apart, so that each overlap ends before the next one. Here a longer overlap would
// leave hundreds of tokens accepted.
func startAgent(ctx context.Context, dir string) (*agent.Agent, error) {
	return agent.Start(ctx, agent.Config{
		TokenFile: filepath.Join(dir, "token"), Overlap: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

// controllerRuntime watches a certificate and its key. Only the certificate changes.
func controllerRuntime() Kind {
	c := new(certificates)
	return Kind{Name: "certwatcher", Files: c.files, Start: func(ctx context.Context, dir string) (Watch, error) {
		ctrllog.SetLogger(logr.Discard())
		w, err := certwatcher.New(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- w.Start(ctx) }()
		return watch{
			func(i int) func() bool {
				return func() bool {
					got, err := w.GetCertificate(nil)
					return err == nil && got.Leaf != nil && got.Leaf.SerialNumber.Int64() == serial(i)
				}
			},
			func() error { stop(); return <-ended },
		}, nil
	}}
}

func otel() Kind {
	return Kind{Name: "OTel", Files: token, Start: func(ctx context.Context, dir string) (Watch, error) {
		o, err := peers.StartOTel(ctx, filepath.Join(dir, "token"), work.Header)
		if err != nil {
			return nil, err
		}
		return watch{
			func(i int) func() bool {
				header := map[string][]string{work.Header: {work.Token(i)}}
				return func() bool { _, err := o.Authenticate(ctx, header); return err == nil }
			},
			o.Close,
		}, nil
	}}
}

// viperKind watches a configuration file. Viper must not be read while it reloads, so
// its callback passes on the new value.
func viperKind() Kind {
	files := func(i int) ([]File, error) {
		return []File{{"token.yaml", fmt.Appendf(nil, "token: %q\n", work.Token(i))}}, nil
	}
	return Kind{Name: "viper", Files: files, Start: func(_ context.Context, dir string) (Watch, error) {
		v := viper.NewWithOptions(viper.WithLogger(slog.New(slog.DiscardHandler)))
		v.SetConfigFile(filepath.Join(dir, "token.yaml"))
		if err := v.ReadInConfig(); err != nil {
			return nil, err
		}
		var now atomic.Pointer[string]
		publish := func(fsnotify.Event) { t := v.GetString("token"); now.Store(&t) }
		publish(fsnotify.Event{})
		v.OnConfigChange(publish)
		v.WatchConfig()
		return watch{
			func(i int) func() bool {
				want := work.Token(i)
				return func() bool { return *now.Load() == want }
			},
			func() error { return nil }, // viper's watch cannot be stopped
		}, nil
	}}
}

// authz reads a policy once a second.
func authz() Kind {
	files := func(i int) ([]File, error) {
		policy, err := peers.AuthzPolicy(work.Token(i))
		return []File{{"policy.json", policy}}, err
	}
	return Kind{Name: "grpc-go authz, 1 s", Polls: true, Files: files, Start: func(_ context.Context, dir string) (Watch, error) {
		var now atomic.Pointer[string]
		w, err := grpcauthz.NewFileWatcherWithOptions(grpcauthz.FileWatcherOptions{
			PolicyFile: filepath.Join(dir, "policy.json"), RefreshDuration: time.Second,
			OnPolicyUpdate: func(policy string) { now.Store(&policy) },
		})
		if err != nil {
			return nil, err
		}
		return watch{
			func(i int) func() bool {
				want, err := peers.AuthzPolicy(work.Token(i))
				return func() bool { return err == nil && now.Load() != nil && *now.Load() == string(want) }
			},
			func() error { w.Close(); return nil },
		}, nil
	}}
}

// clientGo reads a token when it is asked for it and its last read is more than 50 s
// old.
func clientGo() Kind {
	return Kind{Name: "client-go", Polls: true, Files: token, Start: func(_ context.Context, dir string) (Watch, error) {
		s := transport.NewCachedFileTokenSource(filepath.Join(dir, "token"))
		if t, err := s.Token(); err != nil || t.AccessToken == "" {
			return nil, errors.Join(err, errors.New("client-go: no token"))
		}
		return watch{
			func(i int) func() bool {
				want := work.Token(i)
				return func() bool { t, err := s.Token(); return err == nil && t.AccessToken == want }
			},
			func() error { return nil },
		}, nil
	}}
}

// nothing watches nothing. It is the floor of [Idle].
func nothing() Kind {
	return Kind{Name: Nothing, Files: token, Start: func(context.Context, string) (Watch, error) {
		return watch{func(int) func() bool { return func() bool { return true } }, func() error { return nil }}, nil
	}}
}
