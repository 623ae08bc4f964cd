package kube

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// AccountDir is where Kubernetes mounts the service account of a pod
// (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
const AccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// IsInCluster reports whether the process runs in a pod that has a service account.
func IsInCluster() bool {
	_, err := os.Stat(filepath.Join(AccountDir, "token"))
	return err == nil && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// InCluster returns a Client that asks as the service account of this pod.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set; Kubernetes sets them in every pod")
	}
	a := &account{dir: AccountDir}
	if _, _, err := a.read(); err != nil {
		return nil, err
	}
	return New("https://"+net.JoinHostPort(host, port), a)
}

// An account is an [http.RoundTripper] that authenticates as a service account. It reads the
// token and the CA anew for every request, because the kubelet replaces both.
type account struct {
	dir string

	mu sync.Mutex
	ca []byte // of next
	// next trusts ca alone.
	next *http.Transport
}

func (a *account) RoundTrip(req *http.Request) (*http.Response, error) {
	token, next, err := a.read()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	return next.RoundTrip(req)
}

func (a *account) read() (token string, next *http.Transport, err error) {
	text, err := os.ReadFile(filepath.Join(a.dir, "token"))
	token = strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("%w; set automountServiceAccountToken: true in the pod", err)
	case token == "":
		return "", nil, fmt.Errorf("%s is empty; wait for the kubelet", filepath.Join(a.dir, "token"))
	}
	file := filepath.Join(a.dir, "ca.crt")
	ca, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != nil && bytes.Equal(ca, a.ca) {
		return token, a.next, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return "", nil, fmt.Errorf("%s holds no certificate; check the ConfigMap kube-root-ca.crt", file)
	}
	if a.next != nil {
		a.next.CloseIdleConnections()
	}
	a.ca, a.next = ca, &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	return token, a.next, nil
}
