public import ArgumentParser
public import Logging

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// What every command that does something takes.
struct LogOptions: ParsableArguments {
  @Option(name: .customLong("log-level"), help: "The least urgent messages that are written to standard error.")
  var level = Logger.Level.notice

  /// The program's log. To be called once.
  func start() -> Logger {
    LoggingSystem.bootstrap { [level] label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    return Logger(label: "veridianfs")
  }
}
