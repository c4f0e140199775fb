package main

import (
	"context"
	"net"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func quicConfig(c command) *quic.Config {
	config := &quic.Config{
		MaxIdleTimeout:  30 * time.Second,
		KeepAlivePeriod: seconds(c.KeepAlive),
		Allow0RTT:       true,
	}
	switch c.Version {
	case "1":
		config.Versions = []quic.Version{quic.Version1}
	case "2":
		config.Versions = []quic.Version{quic.Version2}
	}
	return config
}

// dial makes a connection. With tickets of an earlier one it is resumed, and what follows may go as early data.
func dial(ctx context.Context, c command) (answer, error) {
	config, err := clientTLS(c)
	if err != nil {
		return nil, err
	}
	remote, err := net.ResolveUDPAddr("udp", c.Addr)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	begin := transport.Dial
	if c.Tickets != "" {
		begin = transport.DialEarly
	}
	conn, err := begin(ctx, remote, config, quicConfig(c))
	if err != nil {
		return nil, err
	}
	select {
	case <-conn.HandshakeComplete():
	case <-conn.Context().Done():
		return nil, context.Cause(conn.Context())
	}
	state := conn.ConnectionState()
	peer, err := spiffeID(state.TLS)
	if err != nil {
		return nil, err
	}
	return answer{
		"conn": keep(conns, "conn", conn), "peer": peer, "resumed": state.TLS.DidResume,
		"early": state.Used0RTT, "version": state.Version.String(),
	}, nil
}

// waitClosed waits for the end of a connection and tells how it ended.
func waitClosed(ctx context.Context, c command) (answer, error) {
	conn, err := find(conns, c.Conn)
	if err != nil {
		return nil, err
	}
	select {
	case <-conn.Context().Done():
		return nil, context.Cause(conn.Context())
	case <-ctx.Done():
		return answer{"open": true}, nil
	}
}

func closeConn(_ context.Context, c command) (answer, error) {
	conn, err := find(conns, c.Conn)
	if err != nil {
		return nil, err
	}
	return nil, conn.CloseWithError(codeNone, c.Reason)
}

// migrate moves a connection to another socket (RFC 9000 section 9): the path is proved first, then taken.
func migrate(ctx context.Context, c command) (answer, error) {
	conn, err := find(conns, c.Conn)
	if err != nil {
		return nil, err
	}
	socket, err := listenUDP(c.Addr)
	if err != nil {
		return nil, err
	}
	path, err := conn.AddPath(&quic.Transport{Conn: socket})
	if err != nil {
		return nil, err
	}
	if err := path.Probe(ctx); err != nil {
		return nil, err
	}
	return answer{"address": socket.LocalAddr().String()}, path.Switch()
}

// openChannel makes a gRPC channel on a stream of a connection; another stream takes its place when that ends.
func openChannel(_ context.Context, c command) (answer, error) {
	conn, err := find(conns, c.Conn)
	if err != nil {
		return nil, err
	}
	channel, err := grpc.NewClient(
		"passthrough:///tndrl",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // TLS is QUIC's
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return openTyped(ctx, conn, byte(c.Type))
		}),
	)
	if err != nil {
		return nil, err
	}
	return answer{"chan": keep(channels, "chan", channel)}, nil
}

func shutChannel(_ context.Context, c command) (answer, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, err
	}
	return nil, channel.Close()
}
