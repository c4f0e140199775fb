package main

import (
	"context"
	"crypto/rand"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	pb "tndrl/interop/tndrlv1"
)

// The application error codes of docs/transport.md.
const (
	codeNone      = 0x00
	codeUnknown   = 0x02
	codeMissing   = 0x03
	codeCancelled = 0x05
	codeShutdown  = 0x06
)

const (
	typeControl = 0x01
	typeA2A     = 0x02
	typeTest    = 0x10
)

// server is a node of this make: Control, an agent and the gRPC test service, by the first byte of each stream.
type server struct {
	transport *quic.Transport
	listener  *quic.Listener
	identity  string
	started   time.Time
	admins    []string
	byType    map[byte]*typedListener
	servers   []*grpc.Server
	conns     chan *quic.Conn
	ends      ends
	stopping  atomic.Bool
	stopped   chan struct{}
}

var resetKey = func() *quic.StatelessResetKey {
	var key quic.StatelessResetKey
	_, _ = rand.Read(key[:])
	return &key
}()

// listenUDP opens a socket at an address, by default at a free port of the loopback interface.
func listenUDP(addr string) (*net.UDPConn, error) {
	address, err := net.ResolveUDPAddr("udp", orDefault(addr, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", address)
}

func serve(_ context.Context, c command) (answer, error) {
	config, err := serverTLS(c.PKI, orDefault(c.ALPN, defaultALPN))
	if err != nil {
		return nil, err
	}
	socket, err := listenUDP(c.Addr)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket, StatelessResetKey: resetKey}
	if c.Retry {
		transport.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	ended, options := make(ends, 64), quicConfig(c)
	options.Tracer = ended.trace
	listener, err := transport.Listen(config, options)
	if err != nil {
		return nil, err
	}
	leaf, err := leafID(config)
	if err != nil {
		return nil, err
	}
	s := &server{
		transport: transport, listener: listener, identity: leaf, started: time.Now(), admins: c.Admins,
		byType: map[byte]*typedListener{}, conns: make(chan *quic.Conn, 64), ends: ended,
		stopped: make(chan struct{}),
	}
	s.start(typeControl, func(g *grpc.Server) { pb.RegisterControlServiceServer(g, &control{server: s}) })
	s.start(typeA2A, func(g *grpc.Server) { registerAgent(g, socket.LocalAddr().String()) })
	s.start(typeTest, func(g *grpc.Server) { testgrpc.RegisterTestServiceServer(g, interop.NewTestServer()) })
	go s.accept()
	return answer{"server": keep(servers, "server", s), "addr": socket.LocalAddr().String(), "identity": leaf}, nil
}

func (s *server) start(kind byte, register func(*grpc.Server)) {
	g := grpc.NewServer(grpc.MaxConcurrentStreams(100), grpc.UnaryInterceptor(addDetails))
	register(g)
	listener := newTypedListener(s.listener.Addr())
	s.byType[kind] = listener
	s.servers = append(s.servers, g)
	go func() { _ = g.Serve(listener) }()
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept(context.Background())
		if err != nil {
			return
		}
		go s.streams(conn)
	}
}

func (s *server) streams(conn *quic.Conn) {
	peer, err := spiffeID(conn.ConnectionState().TLS)
	if err != nil {
		_ = conn.CloseWithError(codeUnknown, err.Error())
		return
	}
	callers.Store(conn.RemoteAddr().String(), peer)
	select {
	case s.conns <- conn:
	default:
	}
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go s.route(conn, stream)
	}
}

func (s *server) route(conn *quic.Conn, stream *quic.Stream) {
	var kind [1]byte
	if n, _ := stream.Read(kind[:]); n == 0 {
		reject(stream, codeMissing)
		return
	}
	listener, known := s.byType[kind[0]]
	if !known {
		reject(stream, codeUnknown)
		return
	}
	listener.offer(streamConn{stream, conn})
}

// end stops a server: gracefully, every call may finish and callers get GOAWAY before their connections close.
func (s *server) end(graceful bool, reason string) {
	if s.stopping.Swap(true) {
		return
	}
	for _, g := range s.servers {
		if graceful {
			g.GracefulStop()
		} else {
			g.Stop()
		}
	}
	for {
		select {
		case conn := <-s.conns:
			_ = conn.CloseWithError(codeShutdown, reason)
			continue
		default:
		}
		break
	}
	_ = s.listener.Close()
	_ = s.transport.Close()
	_ = s.transport.Conn.Close()
	close(s.stopped)
}

func stop(_ context.Context, c command) (answer, error) {
	s, err := find(servers, c.Name)
	if err != nil {
		return nil, err
	}
	s.end(c.Graceful, c.Reason)
	<-s.stopped
	return nil, nil
}
