package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// A Reason says why a request failed, in the words of the API
// (https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#StatusReason).
type Reason string

// The reasons that callers tell apart.
const (
	Conflict      Reason = "Conflict"      // the object has changed since it was read
	AlreadyExists Reason = "AlreadyExists" // an object of the name is there
	NotFound      Reason = "NotFound"
	Forbidden     Reason = "Forbidden"
	Unauthorized  Reason = "Unauthorized"
	Invalid       Reason = "Invalid"
	Expired       Reason = "Expired" // the rest of a list is no longer there; list again
	TooMany       Reason = "TooManyRequests"
	// Unreachable means that there was no answer, or only a part of one. The request may have
	// been carried out.
	Unreachable Reason = "Unreachable"
	// Broken means that the answer is not what the API says.
	Broken Reason = "Broken"
)

// An object names what a request is about, for errors.
type object struct{ kind, namespace, name string }

func (o object) String() string {
	switch {
	case o.name == "" && o.namespace == "":
		return o.kind + "s of all namespaces"
	case o.name == "":
		return o.kind + "s in namespace " + o.namespace
	}
	return o.kind + " " + o.namespace + "/" + o.name
}

// An Error says which request failed, and what to do.
type Error struct {
	Reason     Reason
	RetryAfter time.Duration // how long the API server wants the client to wait; 0 if it does not say

	method string
	object object
	status int    // of HTTP; 0 if unknown
	said   string // what the API server, kubectl or the network said
	cause  error
}

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Reason {
	case Conflict, Expired, TooMany, Unreachable, Broken:
		return true
	case AlreadyExists, NotFound, Forbidden, Unauthorized, Invalid:
		return false
	}
	return e.status >= 500 || e.Reason == "InternalError" || e.Reason == "ServiceUnavailable" || e.Reason == "Timeout" || e.Reason == "ServerTimeout"
}

// Is reports whether err is an [*Error] with the reason.
func Is(err error, r Reason) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == r
}

// Unwrap returns the error of the network or of kubectl, or nil.
func (e *Error) Unwrap() error { return e.cause }

// verb is what RBAC calls the request.
func (e *Error) verb() string {
	switch {
	case e.method == http.MethodPut:
		return "update"
	case e.method == http.MethodPost:
		return "create"
	case e.object.name == "":
		return "list"
	}
	return "get"
}

func (e *Error) Error() string {
	said := ""
	if e.said != "" {
		said = " (" + termsafe.Text(e.said) + ")"
	}
	what := fmt.Sprintf("%s: %s", e.object, e.verb())
	switch e.Reason {
	case Conflict:
		return what + ": somebody else changed it in the meantime"
	case AlreadyExists:
		return what + ": it exists already"
	case NotFound:
		return what + ": not found; check the name and the namespace, or create it first"
	case Forbidden:
		return fmt.Sprintf("%s: forbidden%s; allow the verb %s on %ss there, and check admission policies and quotas", what, said, e.verb(), e.object.kind)
	case Unauthorized:
		return what + ": the API server does not know who asks" + said + "; log in again, or check the service account"
	case Invalid:
		return what + ": the API server calls the object invalid" + said + "; look at it with kubectl get -o yaml"
	case Expired:
		return what + ": the list took too long" + said + "; try again"
	case TooMany:
		return what + ": the API server is overloaded, and still was after " + strconv.Itoa(maxTries) + " tries; try again later"
	case Unreachable:
		return what + ": no answer from the API server" + said + "; check the connection and try again"
	case Broken:
		return what + ": the answer is not what the Kubernetes API says" + said + "; check that this is an API server"
	}
	status := ""
	if e.status != 0 {
		status = fmt.Sprintf(" %d", e.status)
	}
	return fmt.Sprintf("%s: the API server answers%s %s%s; try again, and look into its log if that does not help", what, status, cmp.Or(e.Reason, "with an error"), said)
}

// asError returns err as an [*Error]. Any other error means that there was no answer.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: Unreachable, said: withoutURL(err), cause: err}
}

// withoutURL returns the text of err without the URL that net/http adds: the object is named
// already.
func withoutURL(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("none within %s", timeout)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
