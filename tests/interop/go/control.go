package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "tndrl/interop/tndrlv1"
)

var callers sync.Map // remote address -> SPIFFE ID

func leafID(config *tls.Config) (string, error) {
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		return "", err
	}
	return spiffeID(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
}

type control struct {
	pb.UnimplementedControlServiceServer
	server *server
}

func (c *control) Ping(_ context.Context, request *pb.PingRequest) (*pb.PingResponse, error) {
	return &pb.PingResponse{PingTimestamp: request.Timestamp, PongTimestamp: time.Now().UnixNano()}, nil
}

func (c *control) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	return &pb.GetStatusResponse{
		Identity:      c.server.identity,
		State:         pb.NodeState_NODE_STATE_READY,
		UptimeSeconds: int64(time.Since(c.server.started).Seconds()),
		Metadata:      map[string]string{"version": "go"},
	}, nil
}

func (c *control) Shutdown(ctx context.Context, request *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	from, _ := peer.FromContext(ctx)
	caller, _ := callers.Load(from.Addr.String())
	if name, _ := caller.(string); !slices.Contains(c.server.admins, name) {
		return nil, status.Errorf(codes.PermissionDenied, "%v may not shut this node down", caller)
	}
	go c.server.end(request.Graceful, request.Reason)
	return &pb.ShutdownResponse{Accepted: true}, nil
}

func ping(ctx context.Context, c command) (answer, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, err
	}
	sent := time.Now()
	got, err := pb.NewControlServiceClient(channel).Ping(ctx, &pb.PingRequest{Timestamp: sent.UnixNano()})
	if err != nil {
		return nil, err
	}
	return answer{
		"same": got.PingTimestamp == sent.UnixNano(), "later": got.PongTimestamp >= got.PingTimestamp,
		"ms": float64(time.Since(sent).Microseconds()) / 1000,
	}, nil
}

func getStatus(ctx context.Context, c command) (answer, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, err
	}
	got, err := pb.NewControlServiceClient(channel).GetStatus(ctx, &pb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	return answer{"identity": got.Identity, "state": got.State.String(), "metadata": got.Metadata}, nil
}

func shutdown(ctx context.Context, c command) (answer, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, err
	}
	request := &pb.ShutdownRequest{Graceful: c.Graceful, Reason: c.Reason}
	got, err := pb.NewControlServiceClient(channel).Shutdown(ctx, request)
	if err != nil {
		return nil, err
	}
	return answer{"accepted": got.Accepted, "why": got.RejectionReason}, nil
}
