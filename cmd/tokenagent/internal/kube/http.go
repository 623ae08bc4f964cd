package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// An httpTransport speaks to the API server itself.
type httpTransport struct {
	base   string // scheme and host
	client *http.Client
}

func (t *httpTransport) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := t.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, err
	}
	if len(text) > maxAnswer {
		return answer{}, &Error{Reason: Broken, said: fmt.Sprintf("it is over %d bytes", maxAnswer)}
	}
	if res.StatusCode/100 != 2 {
		return answer{}, failure(res, text)
	}
	a := answer{body: text}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		a.date = date
	}
	return a, nil
}

// failure returns the error of an answer that is no success. Its body is a Status
// (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/), unless
// something between here and the API server has answered.
func failure(res *http.Response, body []byte) *Error {
	var status struct {
		Kind, Message string
		Reason        Reason
		Details       struct{ RetryAfterSeconds int }
	}
	_ = json.Unmarshal(body, &status)
	e := &Error{status: res.StatusCode, Reason: status.Reason}
	if status.Kind == "Status" {
		e.said = status.Message
	}
	if reason, known := reasons[res.StatusCode]; known && (e.Reason == "" || res.StatusCode != http.StatusConflict) {
		e.Reason = reason
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil {
			seconds = status.Details.RetryAfterSeconds
		}
		if seconds <= 0 && res.StatusCode == http.StatusTooManyRequests {
			seconds = 1
		}
		e.RetryAfter = time.Duration(max(seconds, 0)) * time.Second
	}
	return e
}

//nolint:gochecknoglobals // a table
var reasons = map[int]Reason{
	http.StatusUnauthorized:        Unauthorized,
	http.StatusForbidden:           Forbidden,
	http.StatusNotFound:            NotFound,
	http.StatusConflict:            Conflict,
	http.StatusGone:                Expired,
	http.StatusUnprocessableEntity: Invalid,
	http.StatusTooManyRequests:     TooMany,
}
