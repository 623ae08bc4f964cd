package watch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"
)

// certificates makes certificates with one key, so that only the certificate file
// changes.
type certificates struct {
	once sync.Once
	key  *ecdsa.PrivateKey
	err  error
}

// serial returns the serial number of version i. It must be positive.
func serial(i int) int64 { return int64(i) + 1 }

func (c *certificates) files(i int) ([]File, error) {
	c.once.Do(func() { c.key, c.err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	if c.err != nil {
		return nil, c.err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial(i)), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, t, t, &c.key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, err
	}
	return []File{
		{"tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})},
		{"tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
	}, nil
}
