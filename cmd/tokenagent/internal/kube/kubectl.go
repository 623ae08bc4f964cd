package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// KubectlOptions say which kubectl to run, and with which login. The zero value means that
// of the user's shell.
type KubectlOptions struct {
	Path       string // of the program; "" means kubectl in PATH
	Kubeconfig string // its --kubeconfig; "" means its default
	Context    string // its --context; "" means the current one
}

// Kubectl returns a Client that lets kubectl send its requests. All of them go to the context
// that is the current one now, if o names none: the user may choose another one meanwhile.
func Kubectl(ctx context.Context, o KubectlOptions) (*Client, error) {
	if o.Path == "" {
		path, err := exec.LookPath("kubectl")
		if err != nil {
			return nil, fmt.Errorf("this is no pod with a service account, and there is no kubectl in PATH: %w; install kubectl, or run this in the cluster", err)
		}
		o.Path = path
	}
	if o.Context == "" {
		out, errs, err := kubectl(o).run(ctx, nil, "config", "current-context")
		said := errs.text.String()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			o.Context = strings.TrimSpace(out.text.String())
		case !strings.Contains(said, "current-context is not set"): // without one, kubectl uses its defaults
			return nil, fmt.Errorf("kubectl config current-context: %w: %s; name the context with --context", err, firstLine(said))
		}
	}
	return &Client{transport: kubectl(o)}, nil
}

type kubectl KubectlOptions

// run runs kubectl with the login and args, and returns its output.
func (k kubectl) run(ctx context.Context, body []byte, args ...string) (out, errs *limited, err error) {
	var login []string
	if k.Kubeconfig != "" {
		login = append(login, "--kubeconfig="+k.Kubeconfig)
	}
	if k.Context != "" {
		login = append(login, "--context="+k.Context)
	}
	out, errs = &limited{most: maxAnswer}, &limited{most: 64 << 10}
	cmd := exec.CommandContext(ctx, k.Path, append(login, args...)...) //nolint:gosec // kubectl, with a path of the API
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), out, errs
	cmd.WaitDelay = time.Second
	return out, errs, cmd.Run()
}

func (k kubectl) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	var args []string
	switch method {
	case http.MethodGet:
		args = []string{"get", "--raw", path}
	case http.MethodPut:
		args = []string{"replace", "--raw", path, "-f", "-"}
	case http.MethodPost:
		args = []string{"create", "--raw", path, "-f", "-"}
	default:
		return answer{}, fmt.Errorf("kubectl has no raw %s", method)
	}
	out, errs, err := k.run(ctx, body, args...)
	switch {
	case ctx.Err() != nil:
		return answer{}, ctx.Err()
	case err != nil:
		return answer{}, kubectlFailure(errs.text.String(), err)
	case out.over:
		return answer{}, &Error{Reason: Broken, said: fmt.Sprintf("it is over %d bytes", maxAnswer)}
	}
	return answer{body: out.text.Bytes()}, nil
}

// fromServer is how kubectl shows a Status.
var fromServer = regexp.MustCompile(`(?m)^Error from server(?: \((\w+)\))?: (.*)$`)

// kubectlFailure returns the error of a kubectl that failed. What is not an answer of the
// API server may be temporary, except that kubectl could not log in.
func kubectlFailure(said string, err error) error {
	m := fromServer.FindStringSubmatch(said)
	switch {
	case m != nil:
		e := &Error{Reason: Reason(m[1]), said: m[2]}
		if e.Reason == TooMany {
			e.RetryAfter = time.Second
		}
		if e.Reason == "" {
			e.Reason = "InternalError"
		}
		return e
	case strings.Contains(said, "Unauthorized") || strings.Contains(said, "must be logged in"):
		return &Error{Reason: Unauthorized, said: firstLine(said), cause: err}
	}
	if _, ran := errors.AsType[*exec.ExitError](err); !ran {
		return err
	}
	return &Error{Reason: Unreachable, said: "kubectl: " + firstLine(said), cause: err}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// limited keeps the first bytes of what is written to it, and drops the rest.
type limited struct {
	text bytes.Buffer
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - l.text.Len()
	l.over = l.over || len(p) > room
	l.text.Write(p[:min(len(p), room)])
	return len(p), nil
}
