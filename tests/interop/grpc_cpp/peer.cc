// An independent peer: gRPC C++ with code that Debian's protoc and grpc_cpp_plugin generate from our .proto files.
//
//   peer serve TARGET [GARCON]   be the host: serve ContainerListener on TARGET until standard input ends, and print
//                                {"rpc": NAME, "request": {...}} for each call. With GARCON, ContainerReady calls
//                                GetGarconSessionInfo there before it answers, as cicerone does, and prints that too.
//   peer call TARGET             be the caller of either service: read "METHOD REQUEST" lines, REQUEST in protobuf's
//                                JSON, and print {"code": NUMBER, "message": TEXT, "response": {...}} for each.

#include <grpcpp/grpcpp.h>
#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "container_guest.grpc.pb.h"
#include "container_host.grpc.pb.h"

namespace {

using google::protobuf::Message;
using google::protobuf::util::JsonStringToMessage;
using google::protobuf::util::MessageToJsonString;
using namespace vm_tools::container;
using vm_tools::EmptyMessage;

constexpr std::chrono::seconds kDeadline{60};

#define GARCON_RPCS(X)                                                                              \
  X(LaunchApplication, LaunchApplicationRequest, LaunchApplicationResponse)                         \
  X(GetIcon, IconRequest, IconResponse)                                                             \
  X(LaunchVshd, LaunchVshdRequest, LaunchVshdResponse)                                              \
  X(GetLinuxPackageInfo, LinuxPackageInfoRequest, LinuxPackageInfoResponse)                         \
  X(InstallLinuxPackage, InstallLinuxPackageRequest, InstallLinuxPackageResponse)                   \
  X(UninstallPackageOwningFile, UninstallPackageOwningFileRequest, UninstallPackageOwningFileResponse) \
  X(GetDebugInformation, GetDebugInformationRequest, GetDebugInformationResponse)                   \
  X(ConnectChunnel, ConnectChunnelRequest, ConnectChunnelResponse)                                  \
  X(ApplyAnsiblePlaybook, ApplyAnsiblePlaybookRequest, ApplyAnsiblePlaybookResponse)                \
  X(ConfigureForArcSideload, ConfigureForArcSideloadRequest, ConfigureForArcSideloadResponse)       \
  X(AddFileWatch, AddFileWatchRequest, AddFileWatchResponse)                                        \
  X(RemoveFileWatch, RemoveFileWatchRequest, RemoveFileWatchResponse)                               \
  X(GetGarconSessionInfo, GetGarconSessionInfoRequest, GetGarconSessionInfoResponse)

// All but ContainerReady, which does more.
#define LISTENER_RPCS(X)                                                                            \
  X(ContainerShutdown, ContainerShutdownInfo, EmptyMessage)                                         \
  X(UpdateApplicationList, UpdateApplicationListRequest, EmptyMessage)                              \
  X(PendingUpdateApplicationListCalls, PendingAppListUpdateCount, EmptyMessage)                     \
  X(OpenUrl, OpenUrlRequest, EmptyMessage)                                                          \
  X(InstallLinuxPackageProgress, InstallLinuxPackageProgressInfo, EmptyMessage)                     \
  X(UninstallPackageProgress, UninstallPackageProgressInfo, EmptyMessage)                           \
  X(ApplyAnsiblePlaybookProgress, ApplyAnsiblePlaybookProgressInfo, EmptyMessage)                   \
  X(OpenTerminal, OpenTerminalRequest, EmptyMessage)                                                \
  X(UpdateMimeTypes, UpdateMimeTypesRequest, EmptyMessage)                                          \
  X(FileWatchTriggered, FileWatchTriggeredInfo, EmptyMessage)                                       \
  X(LowDiskSpaceTriggered, LowDiskSpaceTriggeredInfo, EmptyMessage)                                 \
  X(ForwardSecurityKeyMessage, ForwardSecurityKeyMessageRequest, ForwardSecurityKeyMessageResponse) \
  X(SelectFile, SelectFileRequest, SelectFileResponse)                                              \
  X(ReportMetrics, ReportMetricsRequest, ReportMetricsResponse)                                     \
  X(InstallShaderCache, InstallShaderCacheRequest, EmptyMessage)                                    \
  X(UninstallShaderCache, UninstallShaderCacheRequest, EmptyMessage)                                \
  X(UnmountShaderCache, UnmountShaderCacheRequest, EmptyMessage)                                    \
  X(InhibitScreensaver, InhibitScreensaverInfo, EmptyMessage)                                       \
  X(UninhibitScreensaver, UninhibitScreensaverInfo, EmptyMessage)

std::string Json(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  if (!MessageToJsonString(message, &text, options).ok()) text = "null";
  return text;
}

std::string Quoted(const std::string& text) {
  static const char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c < 0x20) {
      quoted += std::string("\\u00") + kHex[c >> 4] + kHex[c & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

void PrintLine(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  std::cout << line << std::endl;
}

void PrintCall(const std::string& name, const Message& request) {
  PrintLine("{\"rpc\": " + Quoted(name) + ", \"request\": " + Json(request) + "}");
}

std::string Result(const grpc::Status& status, const Message& response) {
  return "{\"code\": " + std::to_string(status.error_code()) + ", \"message\": " + Quoted(status.error_message()) +
         ", \"response\": " + (status.ok() ? Json(response) : "null") + "}";
}

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kDeadline);
}

class Listener final : public ContainerListener::Service {
 public:
  explicit Listener(const std::string& garcon) : garcon_(garcon) {}

  grpc::Status ContainerReady(grpc::ServerContext*, const ContainerStartupInfo* request, EmptyMessage*) override {
    PrintCall("ContainerReady", *request);
    if (!garcon_.empty()) {
      auto stub = Garcon::NewStub(grpc::CreateChannel(garcon_, grpc::InsecureChannelCredentials()));
      grpc::ClientContext context;
      SetDeadline(&context);
      GetGarconSessionInfoResponse response;
      const auto status = stub->GetGarconSessionInfo(&context, {}, &response);
      PrintLine("{\"called back\": " + Result(status, response) + "}");
    }
    return grpc::Status::OK;
  }

#define METHOD(Name, Request, Response)                                                           \
  grpc::Status Name(grpc::ServerContext*, const Request* request, Response*) override {           \
    PrintCall(#Name, *request);                                                                   \
    return grpc::Status::OK;                                                                      \
  }
  LISTENER_RPCS(METHOD)
#undef METHOD

 private:
  const std::string garcon_;
};

int Serve(const std::string& target, const std::string& garcon) {
  Listener service(garcon);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(target, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  PrintLine("{\"serving\": " + Quoted(target) + "}");
  for (std::string line; std::getline(std::cin, line);) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

using Call = std::function<std::string(const std::string&)>;

template <typename Request, typename Response, typename Rpc>
Call MakeCall(Rpc rpc) {
  return [rpc](const std::string& json) -> std::string {
    Request request;
    const auto parsed = JsonStringToMessage(json, &request);
    if (!parsed.ok()) return "{\"error\": " + Quoted(parsed.ToString()) + "}";
    grpc::ClientContext context;
    SetDeadline(&context);
    Response response;
    const grpc::Status status = rpc(&context, request, &response);
    return Result(status, response);
  };
}

int CallLines(const std::string& target) {
  auto channel = grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
  auto garcon = Garcon::NewStub(channel);
  auto listener = ContainerListener::NewStub(channel);
  std::map<std::string, Call> calls;
#define ADD(stub, Name, Request, Response)                                             \
  calls[#Name] = MakeCall<Request, Response>(                                          \
      [&](grpc::ClientContext* c, const Request& q, Response* r) { return stub->Name(c, q, r); });
#define ADD_GARCON(Name, Request, Response) ADD(garcon, Name, Request, Response)
#define ADD_LISTENER(Name, Request, Response) ADD(listener, Name, Request, Response)
  GARCON_RPCS(ADD_GARCON)
  ADD_LISTENER(ContainerReady, ContainerStartupInfo, EmptyMessage)
  LISTENER_RPCS(ADD_LISTENER)
  for (std::string line; std::getline(std::cin, line);) {
    const auto space = line.find(' ');
    const auto found = calls.find(line.substr(0, space));
    if (space == std::string::npos || found == calls.end()) {
      PrintLine("{\"error\": \"unknown call\"}");
    } else {
      PrintLine(found->second(line.substr(space + 1)));
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && (argc == 3 || argc == 4)) return Serve(argv[2], argc == 4 ? argv[3] : "");
  if (mode == "call" && argc == 3) return CallLines(argv[2]);
  std::cerr << "usage: peer serve TARGET [GARCON] | peer call TARGET" << std::endl;
  return 2;
}
