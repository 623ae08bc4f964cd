// Package podaccount finds the service account that Kubernetes gives to a pod: the address of
// the API server, and the files with its CA certificates and with the pod's token
// (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
package podaccount

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Dir is the directory that the kubelet mounts into each container. Only tests change it.
var Dir = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gochecknoglobals // Kubernetes fixes the path; tests need another one

// The environment variables with the address of the API server, which the kubelet sets in
// each container.
const (
	hostEnv = "KUBERNETES_SERVICE_HOST"
	portEnv = "KUBERNETES_SERVICE_PORT"
)

// An Account is the service account of this pod.
type Account struct {
	// Host is the address of the API server in the form "name:port".
	Host string
	// CAFile and TokenFile are the paths of the API server's CA certificates and of the
	// pod's token. The kubelet replaces both from time to time.
	CAFile, TokenFile string
}

// Find returns the service account of this pod. It reads no file. The error says what is
// missing.
func Find() (Account, error) {
	host, port := os.Getenv(hostEnv), os.Getenv(portEnv)
	a := Account{Host: net.JoinHostPort(host, port), CAFile: filepath.Join(Dir, "ca.crt"), TokenFile: filepath.Join(Dir, "token")}
	if host == "" || port == "" {
		return Account{}, errors.New("this is not a pod: " + hostEnv + " and " + portEnv + " are not both set; run it in a pod")
	}
	if _, err := os.Stat(a.TokenFile); err != nil {
		return Account{}, fmt.Errorf("the pod has no token: %s cannot be read; set automountServiceAccountToken: true in the pod", a.TokenFile)
	}
	return a, nil
}

// URL returns the URL of path, which begins with a slash, at the API server.
func (a Account) URL(path string) string { return "https://" + a.Host + path }
