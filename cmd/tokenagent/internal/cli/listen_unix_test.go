//go:build unix

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tlsFiles writes a certificate for 127.0.0.1 that is its own root, and its key.
func tlsFiles(t *testing.T, until time.Time) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cli"}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestRunSockets checks that the flags of sockets apply to every socket, and that the flags
// of TLS apply to none.
func TestRunSockets(t *testing.T) {
	cert, key := tlsFiles(t, time.Now().Add(time.Hour))
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	args := []string{
		"--token-file", file(t, good), "--socket-mode", "0640",
		"--listen", "unix://" + at("main"), "--admin-listen", "unix://" + at("admin"), "--grpc-listen", "127.0.0.1:0",
		"--tls-cert-file", cert, "--tls-key-file", key,
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 1234, 5678 // only root can give files away
	}
	args = append(args, "--socket-owner", fmt.Sprintf("%d:%d", uid, gid))
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	r := startRun(t, args...)
	for at := range r.log.found { // startRun waits for two listeners, and the admin port is the third
		if at[0] == "admin-listen" {
			break
		}
	}
	for _, name := range []string{"main", "admin"} {
		info, err := os.Lstat(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if sys := info.Sys().(*syscall.Stat_t); info.Mode() != fs.ModeSocket|0o640 || int(sys.Uid) != uid || int(sys.Gid) != gid {
			t.Errorf("%s: mode %v, owner %d:%d", name, info.Mode(), sys.Uid, sys.Gid)
		}
	}
	invoke(t, "", "status", "--agent", "unix://"+at("admin")).want(t, 0, "source token: ready")
	invoke(t, "", "status", "--agent", "unix://"+at("main")).want(t, 1, "401") // forward auth, in plain HTTP
}

// TestExecAdminTLS checks the admin port of exec with TLS, and the exit code of the program.
func TestExecAdminTLS(t *testing.T) {
	cert, key := tlsFiles(t, time.Now().Add(time.Hour))
	end := filepath.Join(t.TempDir(), "end")
	log := &addresses{found: make(chan [2]string, 1), loaded: make(chan struct{})}
	ended := make(chan int, 1)
	go func() {
		ended <- Main(t.Context(), "", []string{
			"exec", "--token-file", file(t, good), "--admin-listen", "127.0.0.1:0", "--admin-tls-cert-file", cert, "--admin-tls-key-file", key,
			"--admin-tls-client-ca-file", cert, "--", "sh", "-c", `while ! [ -e "$0" ]; do sleep 0.05; done; exit 7`, end,
		}, strings.NewReader(""), &strings.Builder{}, log)
	}()
	var addr string
	select {
	case at := <-log.found:
		addr = at[1]
	case code := <-ended:
		t.Fatalf("exec ended with %d: %s", code, log)
	case <-time.After(20 * time.Second):
		t.Fatal("exec does not listen")
	}
	url := "https://localhost" + addr[strings.LastIndex(addr, ":"):]
	invoke(t, "", "status", "--agent", url, "--agent-ca-file", cert, "--agent-cert-file", cert, "--agent-key-file", key).
		want(t, 0, "source token: ready")
	invoke(t, "", "status", "--agent", url, "--agent-ca-file", cert).want(t, 1, "certificate")
	invoke(t, "", "status", "--agent", "http://"+addr).want(t, 1, "400")
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 7 {
		t.Errorf("exit code %d, want the program's", code)
	}
	if strings.Contains(log.String(), "CANARY") {
		t.Error("the log shows a token")
	}
}

// TestBadTLSFilesAreNotShown checks that an error about a private key in the wrong file
// names the file and does not show the key.
func TestBadTLSFilesAreNotShown(t *testing.T) {
	cert, key := tlsFiles(t, time.Now().Add(time.Hour))
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(text), "\n")[1]
	garbage := file(t, "-----BEGIN PRIVATE KEY-----\n"+good+"\n-----END PRIVATE KEY-----\n")
	token := file(t, good)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"run", "--token-file", token, "--tls-cert-file", key, "--tls-key-file", key},
		{"run", "--token-file", token, "--tls-cert-file", cert, "--tls-key-file", garbage},
		{"run", "--token-file", token, "--tls-cert-file", cert, "--tls-key-file", cert},
		{"run", "--token-file", token, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-client-ca-file", key},
		{"run", "--token-file", token, "--admin-tls-cert-file", garbage, "--admin-tls-key-file", key},
		{"exec", "--token-file", token, "--admin-listen", "127.0.0.1:0", "--admin-tls-cert-file", key, "--admin-tls-key-file", garbage, "--", "true"},
		{"run", "--token-file", key},
		{"check", "--token-file", key},
		{"check", "--token-file", garbage},
	} {
		var out, errOut strings.Builder
		code := Main(ctx, "", args, strings.NewReader(""), &out, &errOut)
		all := out.String() + errOut.String()
		if code != 1 || !strings.Contains(all, key) && !strings.Contains(all, garbage) && !strings.Contains(all, cert) {
			t.Errorf("%v: exit code %d\n%s", args, code, all)
		}
		if strings.Contains(all, secret) || strings.Contains(all, "CANARY") {
			t.Errorf("%v shows a key", args)
		}
	}
}
