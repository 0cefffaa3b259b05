// A peer made of github.com/hashicorp/yamux over mTLS, for the tests of our streams.
//
//	peer serve  CERT KEY CA            listens, prints its port, and answers every stream with the SHA-256 of what it got
//	                                   and then the same bytes
//	peer call   CERT KEY CA ADDRESS STREAMS BYTES
//	                                   opens STREAMS streams with BYTES random bytes each and checks the answers
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/hashicorp/yamux"
)

const (
	protocol = "sidelock/1"
	parallel = 64
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 5 {
		log.Fatal("usage: peer serve|call CERT KEY CA [ADDRESS STREAMS BYTES]")
	}
	settings, err := tlsSettings(os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[1] == "serve" {
		err = serve(settings)
	} else {
		streams, _ := strconv.Atoi(os.Args[6])
		size, _ := strconv.Atoi(os.Args[7])
		err = call(settings, os.Args[5], streams, size)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// tlsSettings trusts the CA for chains; names are SPIFFE ids and not checked here.
func tlsSettings(cert, key, ca string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ServerName:   "orders.ai-teddy.local",
		NextProtos:   []string{protocol},
		MinVersion:   tls.VersionTLS13,
	}, nil
}

func serve(settings *tls.Config) error {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", settings)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			session, err := yamux.Server(conn, quiet())
			if err != nil {
				log.Fatal(err)
			}
			for {
				stream, err := session.AcceptStream()
				if err != nil {
					return
				}
				go answer(stream)
			}
		}()
	}
}

// quiet drops the warnings about window updates that cross the end of a stream.
func quiet() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

// answer reads to the end, or, when the first byte is odd, sends back what comes while it comes.
func answer(stream *yamux.Stream) {
	defer stream.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(stream, first); err != nil {
		return
	}
	hash := sha256.New()
	hash.Write(first)
	if first[0]%2 == 1 {
		if _, err := stream.Write(first); err != nil {
			return
		}
		if _, err := io.Copy(stream, io.TeeReader(stream, hash)); err != nil {
			return
		}
		_, _ = stream.Write(hash.Sum(nil))
		return
	}
	var body bytes.Buffer
	body.Write(first)
	if _, err := io.Copy(&body, io.TeeReader(stream, hash)); err != nil {
		return
	}
	_, _ = stream.Write(body.Bytes())
	_, _ = stream.Write(hash.Sum(nil))
}

func call(settings *tls.Config, address string, streams, size int) error {
	conn, err := tls.Dial("tcp", address, settings)
	if err != nil {
		return err
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
		return fmt.Errorf("agreed on %q", got)
	}
	session, err := yamux.Client(conn, quiet())
	if err != nil {
		return err
	}
	slots := make(chan struct{}, parallel)
	failures := make(chan error, streams)
	var all sync.WaitGroup
	for i := 0; i < streams; i++ {
		slots <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-slots; all.Done() }()
			if err := exchange(session, size); err != nil {
				failures <- err
			}
		}()
	}
	all.Wait()
	close(failures)
	failed := 0
	var last error
	for err := range failures {
		failed++
		last = err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d streams failed, one of them: %w", failed, streams, last)
	}
	fmt.Printf("%d streams of %d bytes each way, SHA-256 right\n", streams, size)
	return session.Close()
}

// exchange sends a random body, ends its side, and compares what comes back.
func exchange(session *yamux.Session, size int) error {
	stream, err := session.OpenStream()
	if err != nil {
		return err
	}
	body := make([]byte, size)
	if _, err := rand.Read(body); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(body)
		if err == nil {
			err = stream.Close()
		}
		sent <- err
	}()
	back, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	if len(back) != size+sha256.Size {
		return fmt.Errorf("%d bytes came back", len(back))
	}
	if !bytes.Equal(body, back[:size]) {
		return errors.New("other bytes came back")
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], back[size:]) {
		return errors.New("other bytes arrived")
	}
	return nil
}
