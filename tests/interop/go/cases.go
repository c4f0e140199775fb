package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const chunkSize = 64 * 1024

// testCases are gRPC's published ones, as grpc-go has them. A case that fails ends this process with its reason.
var testCases = map[string]func(context.Context, testgrpc.TestServiceClient){
	"empty_unary":                 func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoEmptyUnaryCall(ctx, t) },
	"large_unary":                 func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoLargeUnaryCall(ctx, t) },
	"client_streaming":            func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoClientStreaming(ctx, t) },
	"server_streaming":            func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoServerStreaming(ctx, t) },
	"ping_pong":                   func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoPingPong(ctx, t) },
	"empty_stream":                func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoEmptyStream(ctx, t) },
	"cancel_after_begin":          func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoCancelAfterBegin(ctx, t) },
	"cancel_after_first_response": func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoCancelAfterFirstResponse(ctx, t) },
	"timeout_on_sleeping_server":  func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoTimeoutOnSleepingServer(ctx, t) },
	"custom_metadata":             func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoCustomMetadata(ctx, t) },
	"status_code_and_message":     func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoStatusCodeAndMessage(ctx, t) },
	"special_status_message":      func(ctx context.Context, t testgrpc.TestServiceClient) { interop.DoSpecialStatusMessage(ctx, t) },
}

func testClient(c command) (*grpc.ClientConn, testgrpc.TestServiceClient, error) {
	channel, err := find(channels, c.Chan)
	if err != nil {
		return nil, nil, err
	}
	return channel, testgrpc.NewTestServiceClient(channel), nil
}

// grpcCase runs one of gRPC's interoperability cases.
func grpcCase(ctx context.Context, c command) (answer, error) {
	channel, client, err := testClient(c)
	if err != nil {
		return nil, err
	}
	switch c.Case {
	case "unimplemented_method":
		interop.DoUnimplementedMethod(ctx, channel)
	case "unimplemented_service":
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(channel))
	default:
		run, known := testCases[c.Case]
		if !known {
			return nil, fmt.Errorf("no such case: %s", c.Case)
		}
		run(ctx, client)
	}
	return answer{"passed": true}, nil
}

// upload sends a number of bytes in one call and returns how many the server counted.
func upload(ctx context.Context, c command) (answer, error) {
	_, client, err := testClient(c)
	if err != nil {
		return nil, err
	}
	call, err := client.StreamingInputCall(ctx)
	if err != nil {
		return nil, err
	}
	body := make([]byte, chunkSize)
	for left := c.Bytes; left > 0; left -= chunkSize {
		request := &testgrpc.StreamingInputCallRequest{
			Payload: &testgrpc.Payload{Body: body[:min(left, chunkSize)]},
		}
		if err := call.Send(request); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	got, err := call.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return answer{"counted": int64(got.AggregatedPayloadSize)}, nil
}

// fetch asks for a number of bytes in one call and counts them.
func fetch(ctx context.Context, c command) (answer, error) {
	_, client, err := testClient(c)
	if err != nil {
		return nil, err
	}
	request := &testgrpc.StreamingOutputCallRequest{}
	for left := c.Bytes; left > 0; left -= chunkSize {
		request.ResponseParameters = append(
			request.ResponseParameters, &testgrpc.ResponseParameters{Size: int32(min(left, chunkSize))},
		)
	}
	call, err := client.StreamingOutputCall(ctx, request)
	if err != nil {
		return nil, err
	}
	var counted int64
	for {
		got, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return answer{"counted": counted}, nil
		}
		if err != nil {
			return answer{"counted": counted}, err
		}
		counted += int64(len(got.Payload.Body))
	}
}

// watch keeps one two-way call open and sends and takes a message a number of times, one after the other.
func watch(ctx context.Context, c command) (answer, error) {
	_, client, err := testClient(c)
	if err != nil {
		return nil, err
	}
	call, err := client.FullDuplexCall(ctx)
	if err != nil {
		return nil, err
	}
	request := &testgrpc.StreamingOutputCallRequest{
		ResponseParameters: []*testgrpc.ResponseParameters{{Size: 100, IntervalUs: int32(c.Bytes)}},
		Payload:            &testgrpc.Payload{Body: make([]byte, 100)},
	}
	for n := range c.Times {
		if err := call.Send(request); err != nil && !errors.Is(err, io.EOF) {
			return answer{"times": n}, err
		}
		if _, err := call.Recv(); err != nil {
			return answer{"times": n}, err
		}
	}
	if err := call.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := call.Recv(); !errors.Is(err, io.EOF) {
		return answer{"times": c.Times}, fmt.Errorf("the call did not end: %w", err)
	}
	return answer{"times": c.Times}, nil
}

const detailsHeader = "x-test-details"

// addDetails puts into the status of a failed call what its metadata asks for.
func addDetails(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	response, err := handler(ctx, request)
	given, _ := metadata.FromIncomingContext(ctx)
	if wanted := given.Get(detailsHeader); err != nil && len(wanted) == 1 {
		if rich, problem := status.Convert(err).WithDetails(&errdetails.ErrorInfo{Reason: wanted[0]}); problem == nil {
			return response, rich.Err()
		}
	}
	return response, err
}

// details fails a call and returns the details of its status.
func details(ctx context.Context, c command) (answer, error) {
	_, client, err := testClient(c)
	if err != nil {
		return nil, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, detailsHeader, c.Text)
	_, err = client.UnaryCall(ctx, &testgrpc.SimpleRequest{
		ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.ResourceExhausted), Message: "enough"},
	})
	got := status.Convert(err)
	facts := answer{"code": got.Code().String(), "message": got.Message()}
	for _, detail := range got.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			facts["reason"] = info.Reason
		}
	}
	return facts, nil
}
