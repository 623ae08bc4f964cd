# The image that `make image` packs, for those who build with a container engine.
# The program is static, and is built from the sources alone: with one version of
# Go, one VERSION and one SOURCE_DATE_EPOCH it is the same byte for byte.
#
#   docker build --build-arg VERSION=v1 -t tokenagent/tokenagent:v1 .
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/tokenagent ./cmd/tokenagent \
 && mkdir -p /out/etc \
 && printf 'root:x:0:\nnonroot:x:65532:\n' >/out/etc/group \
 && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >/out/etc/passwd

FROM scratch
COPY --from=build /out/ /
# A number, since a kubelet cannot tell whether a name is root.
USER 65532:65532
ENTRYPOINT ["/tokenagent"]
