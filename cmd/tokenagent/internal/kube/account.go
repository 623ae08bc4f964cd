package kube

import (
	"github.com/tokenagent/tokenagent/internal/clientfiles"
	"github.com/tokenagent/tokenagent/internal/podaccount"
)

// IsInCluster reports whether the process runs in a pod that has a service account.
func IsInCluster() bool {
	_, err := podaccount.Find()
	return err == nil
}

// InCluster returns a Client that asks as the service account of this pod, with the token
// and the CA certificates that the kubelet keeps up to date.
func InCluster() (*Client, error) {
	a, err := podaccount.Find()
	if err != nil {
		return nil, err
	}
	files, err := clientfiles.Open(clientfiles.Options{CAFile: a.CAFile, BearerFile: a.TokenFile, Name: "the API server's"})
	if err != nil {
		return nil, err
	}
	return New(a.URL(""), clientfiles.NewTransport(files, a.Host))
}
