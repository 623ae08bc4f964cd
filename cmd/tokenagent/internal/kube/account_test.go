package kube

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The kubelet replaces the token and the CA while the program runs.
func TestAccountReadsItsTokenAndItsCAForEveryRequest(t *testing.T) {
	var asked []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.Header.Get("Authorization"))
		fmt.Fprint(w, "{}")
	})
	server := httptest.NewTLSServer(handler)
	defer server.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write("token", "one\n")
	write("ca.crt", ca)
	a := &account{dir: dir}
	defer func() { a.next.CloseIdleConnections() }()
	c, err := New(server.URL, a)
	if err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, err := c.Secret(t.Context(), "app", "token")
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	before := a.next
	write("token", "two")
	if err := get(); err != nil || a.next != before {
		t.Errorf("%v; the same CA needs no new connection", err)
	}
	if !reflect.DeepEqual(asked, []string{"Bearer one", "Bearer two"}) {
		t.Errorf("%q", asked)
	}
	write("ca.crt", ca+"\n"+ca)
	if err := get(); err != nil || a.next == before {
		t.Errorf("%v; another CA was not read", err)
	}
	for name, text := range map[string]string{"token": " ", "ca.crt": "no PEM"} {
		write(name, text)
		if err := get(); err == nil || strings.Contains(err.Error(), "two") {
			t.Errorf("a bad %s: %v", name, err)
		}
		write("token", "two")
	}
}
