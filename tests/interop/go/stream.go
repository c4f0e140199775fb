package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
)

// streamConn is a QUIC stream as a net.Conn, which is all that grpc-go asks for.
type streamConn struct {
	*quic.Stream
	conn *quic.Conn
}

func (s streamConn) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s streamConn) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close ends both directions: what was written still arrives.
func (s streamConn) Close() error {
	s.CancelRead(codeCancelled)
	return s.Stream.Close()
}

// openTyped opens a stream and writes its type.
func openTyped(ctx context.Context, conn *quic.Conn, kind byte) (net.Conn, error) {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte{kind}); err != nil {
		return nil, err
	}
	return streamConn{stream, conn}, nil
}

// typedListener hands grpc-go the streams of one type.
type typedListener struct {
	addr    net.Addr
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newTypedListener(addr net.Addr) *typedListener {
	return &typedListener{addr: addr, streams: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *typedListener) Accept() (net.Conn, error) {
	select {
	case stream := <-l.streams:
		return stream, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *typedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *typedListener) Addr() net.Addr { return l.addr }

func (l *typedListener) offer(stream streamConn) {
	select {
	case l.streams <- stream:
	case <-l.closed:
		reject(stream.Stream, codeShutdown)
	}
}

func reject(stream *quic.Stream, code quic.StreamErrorCode) {
	stream.CancelRead(code)
	stream.CancelWrite(code)
}

// rawStream writes bytes on a new stream and returns what comes back until it ends.
func rawStream(ctx context.Context, c command) (answer, error) {
	conn, err := find(conns, c.Conn)
	if err != nil {
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte(c.Text)); err != nil {
		return nil, err
	}
	got, err := io.ReadAll(stream)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return answer{"received": len(got)}, err
}
