package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const defaultALPN = "tndrl"

// credentials reads what one PKI directory holds, as a node does: ca.crt, tndrl.crt and tndrl.key (SEC1).
func credentials(dir string, withLeaf bool) (*x509.CertPool, []tls.Certificate, error) {
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("no certificate in %s/ca.crt", dir)
	}
	if !withLeaf {
		return pool, nil, nil
	}
	leaf, err := tls.LoadX509KeyPair(filepath.Join(dir, "tndrl.crt"), filepath.Join(dir, "tndrl.key"))
	if err != nil {
		return nil, nil, err
	}
	return pool, []tls.Certificate{leaf}, nil
}

// spiffeID returns the one URI of a verified leaf.
func spiffeID(state tls.ConnectionState) (string, error) {
	if len(state.PeerCertificates) == 0 {
		return "", errors.New("the peer has no certificate")
	}
	uris := state.PeerCertificates[0].URIs
	if len(uris) != 1 {
		return "", fmt.Errorf("%d URI SANs", len(uris))
	}
	return uris[0].String(), nil
}

func serverTLS(dir, alpn string) (*tls.Config, error) {
	pool, leaf, err := credentials(dir, true)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: leaf,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		NextProtos:   []string{alpn},
	}, nil
}

// clientTLS verifies the server by the identity expected or, without one, by its host name.
func clientTLS(c command) (*tls.Config, error) {
	pool, leaf, err := credentials(c.PKI, !c.NoCert)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       leaf,
		RootCAs:            pool,
		ServerName:         c.Host,
		NextProtos:         []string{orDefault(c.ALPN, defaultALPN)},
		ClientSessionCache: ticketsOf(c.Tickets),
	}
	if c.Expect != "" {
		config.InsecureSkipVerify = true // the host name is of no account: VerifyConnection does the rest
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyIdentity(state, pool, c.Expect)
		}
	}
	return config, nil
}

func verifyIdentity(state tls.ConnectionState, pool *x509.CertPool, expected string) error {
	between := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		between.AddCert(certificate)
	}
	options := x509.VerifyOptions{Roots: pool, Intermediates: between}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return err
	}
	actual, err := spiffeID(state)
	if err != nil {
		return err
	}
	if actual != expected {
		return fmt.Errorf("expected %s, the certificate says %s", expected, actual)
	}
	return nil
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

var caches = map[string]tls.ClientSessionCache{}

// ticketsOf returns the session tickets kept under a name, none without one.
func ticketsOf(name string) tls.ClientSessionCache {
	if name == "" {
		return nil
	}
	held.Lock()
	defer held.Unlock()
	if caches[name] == nil {
		caches[name] = tls.NewLRUClientSessionCache(10)
	}
	return caches[name]
}
