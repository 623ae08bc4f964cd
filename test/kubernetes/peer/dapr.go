package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// daprd is the HTTP API of the pod's own daprd.
const daprd = "http://127.0.0.1:3500/"

// app is an app under Dapr, at addr. It subscribes to the topic orders, and has a cron
// binding, an actor and, if jobs is set, a job that it schedules itself. tokens says how it
// checks the token: "env" compares with APP_API_TOKEN, which it reads once; "file" embeds the
// agent, with its admin port at :9464; "agent" leaves it to an agent in front of it.
func app(ctx context.Context, addr, protocol, tokens string, jobs bool) error {
	check := func(token string) bool { return token == "" } // an agent in front removes it
	var embedded *agent.Agent
	switch tokens {
	case "env":
		want := os.Getenv(agent.DaprTokenEnv)
		check = func(token string) bool { return token == want }
	case "file":
		var err error
		embedded, err = agent.Start(ctx, agent.Config{StateFile: os.Getenv("STATE_FILE")}) // APP_API_TOKEN_FILE
		if err != nil {
			return err
		}
		defer func() { _ = embedded.Close() }()
		go func() {
			_ = http.ListenAndServe(":9464", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test
				_ = json.NewEncoder(w).Encode(embedded.Status())
			}))
		}()
	}
	// daprd still delivers while it shuts down, so the app ends after it.
	ending, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		until(ending, 15*time.Second, func() bool { return len(processes("daprd")) == 0 })
		end()
	})()
	if jobs { // once daprd and its scheduler are ready
		go until(ending, time.Hour, func() bool {
			code, err := post(ending, daprd+"v1.0-alpha1/jobs/beat", `{"schedule": "@every 1s", "data": "beat", "overwrite": true}`)
			return err == nil && code < 300
		})
	}
	if protocol == "grpc" {
		return appGRPC(ending, addr, check, embedded)
	}
	handler := http.Handler(http.HandlerFunc(answer))
	if embedded != nil {
		handler = httpauth.Middleware(embedded, httpauth.Options{Exempt: []string{"/healthz"}})(handler)
	} else {
		inner := handler
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" && !check(r.Header.Get(header)) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			inner.ServeHTTP(w, r)
		})
	}
	return listen(ending, &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: limit})
}

func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/dapr/config":
		_, _ = io.WriteString(w, `{"entities": ["basket"]}`)
	case "/dapr/subscribe":
		_, _ = io.WriteString(w, `[{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]`)
	default:
		_, _ = io.WriteString(w, "{}")
	}
}

// appGRPC answers every method with bytes that mean success in Dapr's AppCallback
// (dapr/proto/runtime/v1/appcallback.proto in github.com/dapr/dapr).
func appGRPC(ctx context.Context, addr string, check func(token string) bool, embedded *agent.Agent) error {
	interceptor := func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error { //nolint:contextcheck // it is in s
		switch info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:] {
		case "ListTopicSubscriptions", "ListInputBindings", "HealthCheck": // these carry no token
		default:
			md, _ := metadata.FromIncomingContext(s.Context())
			if !check(strings.Join(md.Get(header), "")) {
				return status.Error(codes.Unauthenticated, "another token")
			}
		}
		return handler(srv, s)
	}
	if embedded != nil {
		interceptor = grpcauth.StreamServerInterceptor(embedded, grpcauth.Options{}) //nolint:contextcheck // it is in the stream
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.StreamInterceptor(interceptor), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		var in, out []byte
		if err := s.RecvMsg(&in); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(s)
		switch method[strings.LastIndex(method, "/")+1:] {
		case "ListTopicSubscriptions": // {subscriptions: [{pubsub_name: pubsub, topic: orders}]}
			out = []byte("\x0a\x10\x0a\x06pubsub\x12\x06orders")
		case "ListInputBindings": // {bindings: [tick]}
			out = []byte("\x0a\x04tick")
		}
		return s.SendMsg(&out)
	}))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}

// raw is a codec that leaves messages as bytes.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// until asks about a condition ten times a second until it holds, for at most this long.
func until(ctx context.Context, most time.Duration, holds func() bool) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && !holds() {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// number finds the number of a message in the body of a request, over HTTP and over gRPC.
var number = regexp.MustCompile(`order-(\d+);`)

// tap passes the requests of daprd on to the app or its agent at upstream, and tells the
// counter what daprd got as an answer.
func tap(ctx context.Context, addr, upstream, counter string, protocol string) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(protocol != "grpc")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "grpc")
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(a *http.Response) error { //nolint:contextcheck // it is in a
			code := a.StatusCode
			if a.Header.Get("Grpc-Status") == strconv.Itoa(int(codes.Unauthenticated)) { // no body: it is not in the trailers
				code = http.StatusUnauthorized
			} else if s := a.Header.Get("Grpc-Status"); s != "" && s != "0" {
				code = http.StatusInternalServerError
			}
			kind, id, _ := strings.Cut(a.Request.Context().Value(kindKey{}).(string), " ")
			if kind == "" {
				return nil
			}
			q := url.Values{"kind": {kind}, "id": {id}, "code": {strconv.Itoa(code)}}
			_, err := post(context.WithoutCancel(a.Request.Context()), counter+"/event?"+q.Encode(), "")
			return err
		},
	}
	server := &http.Server{Addr: addr, ReadHeaderTimeout: limit, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := kindOf(r)
		if kind == "topic" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if m := number.FindSubmatch(body); m != nil {
				kind += " " + string(m[1])
			}
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), kindKey{}, kind)))
	})
	return listen(ctx, server)
}

type kindKey struct{}

// kindOf returns which of Dapr's building blocks a request of daprd belongs to; "" for the
// health probe.
func kindOf(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == "/orders", strings.HasSuffix(path, "/OnTopicEvent"):
		return "topic"
	case path == "/call", strings.HasSuffix(path, "/OnInvoke"):
		return "call"
	case path == "/tick" && r.Method == http.MethodPost, strings.HasSuffix(path, "/OnBindingEvent"):
		return "cron"
	case strings.HasPrefix(path, "/job/"), strings.Contains(path, "/OnJobEvent"):
		return "job"
	case strings.HasPrefix(path, "/actors/"):
		return "actor"
	case path == "/healthz", strings.HasSuffix(path, "/HealthCheck"):
		return ""
	default:
		return "start"
	}
}

// A tally counts what a load and its taps saw.
type tally struct {
	log       io.Writer
	mu        sync.Mutex
	published map[int]bool   // the messages of the topic; true once one was delivered
	counts    map[string]int // "call refused", "cron good", ...
	running   bool
	first     int // message of this count
	next      int
	last      time.Time // of the last delivery
}

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func outcome(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "refused"
	case http.StatusOK, http.StatusNoContent:
		return "good"
	default:
		return "failed"
	}
}

// load sends, while it is switched on, 10 messages a second to the topic orders and 10
// invocations a second to the app orders, and with actors one call of an actor. At addr it
// counts: POST /event is for taps, /start begins to count from zero, and /stop waits until
// the messages have arrived and answers with the counts.
func load(ctx context.Context, addr string, actors bool, stdout io.Writer) error {
	t := &tally{log: stdout}
	every := func(pause time.Duration, send func(n int)) {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			t.mu.Lock()
			running := t.running
			t.mu.Unlock()
			if running {
				go send(n)
			}
		}
	}
	go every(100*time.Millisecond, func(int) {
		t.mu.Lock()
		t.next++
		n := t.next
		t.mu.Unlock()
		code, err := post(ctx, daprd+"v1.0/publish/pubsub/orders", fmt.Sprintf("order-%d;", n))
		t.mu.Lock()
		defer t.mu.Unlock()
		if err == nil && code < 300 {
			if !t.published[n] { // it may have arrived already
				t.published[n] = false
			}
		} else {
			t.counts["publish failed"]++
		}
	})
	go every(100*time.Millisecond, func(int) { t.call(ctx, "call", "v1.0/invoke/orders/method/call") })
	if actors {
		go every(time.Second, func(n int) {
			t.call(ctx, "actor", fmt.Sprintf("v1.0/actors/basket/%d/method/add", n%8))
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /event", func(_ http.ResponseWriter, r *http.Request) {
		kind := r.FormValue("kind")
		code, _ := strconv.Atoi(r.FormValue("code"))
		t.count("app " + kind + " " + outcome(code))
		if id, err := strconv.Atoi(r.FormValue("id")); err == nil && kind == "topic" && outcome(code) == "good" {
			t.mu.Lock()
			defer t.mu.Unlock()
			if id >= t.first {
				t.published[id], t.last = true, time.Now()
			}
		}
	})
	mux.HandleFunc("POST /start", func(http.ResponseWriter, *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.published, t.counts, t.running, t.last = map[int]bool{}, map[string]int{}, true, time.Now()
		t.first = t.next + 1
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		t.running = false
		t.mu.Unlock()
		until(r.Context(), 2*time.Second, func() bool { return false }) // for requests on their way
		until(r.Context(), time.Hour, func() bool { return t.lost() == 0 || time.Since(t.seen()) > 25*time.Second })
		lost := t.lost()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.counts["published"], t.counts["lost"] = len(t.published), lost
		_ = json.NewEncoder(w).Encode(t.counts)
	})
	t.published = map[int]bool{}
	t.counts = map[string]int{}
	return listen(ctx, &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: limit})
}

func (t *tally) call(ctx context.Context, kind, path string) {
	code, err := post(ctx, daprd+path, "{}")
	if err != nil {
		code = 0
	}
	if outcome(code) == "failed" {
		_, _ = fmt.Fprintf(t.log, "%s %s: %d %v\n", time.Now().Format("15:04:05.000"), kind, code, err)
	}
	t.count(kind + " " + outcome(code))
}

func (t *tally) lost() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, arrived := range t.published {
		if !arrived {
			n++
		}
	}
	return n
}

func (t *tally) seen() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// post sends a request with this body, waits 10 s at most, and returns the status of the answer.
func post(ctx context.Context, target, body string) (code int, err error) {
	kind := "text/plain"
	if strings.HasPrefix(body, "{") {
		kind = "application/json"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body)) //nolint:gosec // the test says whom to ask
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", kind)
	a, err := http.DefaultClient.Do(r) //nolint:gosec // as above
	if err != nil {
		return 0, err
	}
	defer func() { _ = a.Body.Close() }()
	_, err = io.Copy(io.Discard, a.Body)
	return a.StatusCode, err
}

// control sends one request to the counter of a load and prints the answer.
func control(ctx context.Context, target string, stdout io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody) //nolint:gosec // as above
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(r) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer func() { _ = a.Body.Close() }()
	_, err = io.Copy(stdout, a.Body)
	return err
}

func listen(ctx context.Context, s *http.Server) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { //nolint:contextcheck // ctx has ended
		grace, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		stopped <- s.Shutdown(grace)
	})
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}

// processes returns the ids of the pod's processes with this name, or with this program
// and first argument, as in "peer app".
func processes(name string) (ids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline") // a valid pattern
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(line), "\x00")
		program := filepath.Base(args[0])
		if program == name || len(args) > 1 && program+" "+args[1] == name {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // a number: see proc_pid(5)
			ids = append(ids, id)
		}
	}
	return ids
}
