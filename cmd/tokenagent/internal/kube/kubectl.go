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

// Kubectl returns a Client that lets kubectl send its requests.
func Kubectl(o KubectlOptions) (*Client, error) {
	if o.Path == "" {
		path, err := exec.LookPath("kubectl")
		if err != nil {
			return nil, fmt.Errorf("this is no pod with a service account, and there is no kubectl in PATH: %w; install kubectl, or run this in the cluster", err)
		}
		o.Path = path
	}
	return &Client{transport: kubectl(o)}, nil
}

type kubectl KubectlOptions

func (k kubectl) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	var args []string
	if k.Kubeconfig != "" {
		args = append(args, "--kubeconfig="+k.Kubeconfig)
	}
	if k.Context != "" {
		args = append(args, "--context="+k.Context)
	}
	switch method {
	case http.MethodGet:
		args = append(args, "get", "--raw", path)
	case http.MethodPut:
		args = append(args, "replace", "--raw", path, "-f", "-")
	case http.MethodPost:
		args = append(args, "create", "--raw", path, "-f", "-")
	default:
		return answer{}, fmt.Errorf("kubectl has no raw %s", method)
	}
	out, errs := &limited{most: maxAnswer}, &limited{most: 64 << 10}
	cmd := exec.CommandContext(ctx, k.Path, args...) //nolint:gosec // kubectl, with a path of the API
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), out, errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
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
